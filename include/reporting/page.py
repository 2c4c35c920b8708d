"""A document of sections, tables and plots, rendered as HTML and as Markdown with the same content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from include.reporting.rendering import html_templates


@dataclass(frozen=True)
class Plot:
    """A plot.

    Attributes:
        name: The file name without its ending.
        alt: The text alternative.
        svg: The drawing.
    """

    name: str
    alt: str
    svg: str

    @property
    def path(self) -> str:
        """The path of the plot's file, relative to the Markdown document."""
        return f"plots/{self.name}.svg"


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: The column titles.
        rows: The cells.
        texts: The number of text columns, from the left; the other columns are numbers.
        title: The caption.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    title: str = ""


@dataclass(frozen=True)
class Section:
    """A section of a page; its parts appear in the order of the attributes.

    Attributes:
        title: The heading.
        paragraphs: The paragraphs.
        items: The items of a list.
        plots: The plots; in Markdown they are separate files.
        tables: The tables.
        badge: A word beside the heading, which states the result.
        good: Whether the badge states a good result.
    """

    title: str
    paragraphs: Sequence[str] = ()
    items: Sequence[str] = ()
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()
    badge: str = ""
    good: bool = True


@dataclass(frozen=True)
class Page:
    """A document.

    Attributes:
        title: The title.
        lead: The introduction, in a few sentences.
        sections: The sections.
    """

    title: str
    lead: str
    sections: Sequence[Section]

    def html(self) -> str:
        """Return the document as one HTML file without external resources."""
        return html_templates().get_template("page.html").render(page=self)

    def markdown(self) -> str:
        """Return the document as Markdown."""
        return html_templates().get_template("page.md").render(page=self)
