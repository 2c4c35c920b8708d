"""What a model card is made of, and how it becomes Markdown and HTML: both say the same."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from include.training.card.plots import Plot


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: The titles.
        rows: The cells.
        texts: How many columns, from the left, are texts; the others are numbers.
        title: What stands above it.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    title: str = ""


@dataclass(frozen=True)
class Section:
    """One chapter of the card.

    Attributes:
        title: Its title.
        paragraphs: Texts, in order, before all else.
        items: A list.
        plots: Drawings; in Markdown they are files beside it.
        tables: Tables.
        badge: One word on how it went.
        good: Whether that word is a good one.
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
    """A whole card.

    Attributes:
        title: Its title.
        lead: What it is about, in a few sentences.
        sections: Its chapters.
    """

    title: str
    lead: str
    sections: Sequence[Section]

    def html(self) -> str:
        """Return the page as one HTML file that needs no other."""
        return _TEMPLATES.get_template("model_card.html").render(page=self)

    def markdown(self) -> str:
        """Return the page as Markdown."""
        return _TEMPLATES.get_template("model_card.md").render(page=self)


def _as_cell(text: str) -> str:
    # Markdown knows HTML: what looks like a tag must not be one, and a bar would end the cell.
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "\\|")
    return " ".join(escaped.split())


def _as_address(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


_TEMPLATES = Environment(
    loader=PackageLoader("include.training.card"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=select_autoescape(),
    keep_trailing_newline=True,
)
_TEMPLATES.filters |= {"cell": _as_cell, "address": _as_address}
