"""The Jinja2 environment of all HTML, and the filters that format numbers."""

from __future__ import annotations

import base64
import datetime as dt
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

_BASE = Path(__file__).parent / "templates"
_NONE = "-"


@cache
def html_templates(folder: Path = _BASE) -> Environment:
    """Return the Jinja2 environment of the templates in ``folder``.

    Args:
        folder: A folder of templates, which may extend and import the templates of this package.
    """
    environment = Environment(
        loader=FileSystemLoader([folder, _BASE]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=select_autoescape(),
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "age": age,
        "data_uri": _data_uri,
        "duration": duration,
        "figure": figure,
        "markdown_cell": _markdown_cell,
        "moment": moment,
        "number": number,
        "percent": percent,
        "size": size,
    }
    return environment


def figure(value: float | None, pattern: str) -> str:
    """Return a value in a format of ``str.format``.

    Args:
        value: The value.
        pattern: The format.

    Example:
        >>> figure(0.8512, "{:.3f}"), figure(None, "{:.3f}")
        ('0.851', '-')
    """
    return _NONE if value is None else pattern.format(value)


def number(value: float | None) -> str:
    """Return a number with thousands separators.

    Example:
        >>> number(1234567), number(2.5), number(None)
        ('1,234,567', '2.5', '-')
    """
    if value is None:
        return _NONE
    return f"{value:,.1f}" if abs(value) < 100 and value != int(value) else f"{value:,.0f}"


def size(value: float | None) -> str:
    """Return a number of bytes in the largest fitting unit.

    Example:
        >>> size(12_345_678), size(None)
        ('12.3 MB', '-')
    """
    if value is None:
        return _NONE
    for unit in ("B", "kB", "MB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def percent(value: float | None) -> str:
    """Return a share in per cent; a share strictly between 0 and 1 is never rounded to 0 % or 100 %.

    Example:
        >>> percent(1.0), percent(0.99996), percent(0.5), percent(None)
        ('100 %', '99.99 %', '50 %', '-')
    """
    if value is None:
        return _NONE
    if value in (0.0, 1.0):
        return f"{value:.0%}".replace("%", " %")
    text = f"{min(max(value * 100, 0.01), 99.99):.2f}".rstrip("0").rstrip(".")
    return f"{text} %"


def duration(seconds: float | None) -> str:
    """Return a duration in seconds, or in milliseconds below one second.

    Example:
        >>> duration(0.0123), duration(2.5), duration(None)
        ('12.3 ms', '2.5 s', '-')
    """
    if seconds is None:
        return _NONE
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def age(days: float | None) -> str:
    """Return an age in days, or in hours below one day.

    Example:
        >>> age(0.25), age(12.0), age(None)
        ('6.0 h', '12 d', '-')
    """
    if days is None:
        return _NONE
    return f"{days * 24:.1f} h" if 0 < days < 1 else f"{number(days)} d"


def moment(time: dt.datetime | None) -> str:
    """Return a time with a time zone as date and time of day in UTC.

    Example:
        >>> moment(dt.datetime(2026, 3, 1, 6, 4, tzinfo=dt.UTC)), moment(None)
        ('2026-03-01 06:04 UTC', '-')
    """
    return _NONE if time is None else f"{time.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"


def _markdown_cell(text: str) -> str:
    # Markdown may contain HTML tags, and a vertical bar ends a cell.
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "\\|")
    return " ".join(escaped.split())


def _data_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
