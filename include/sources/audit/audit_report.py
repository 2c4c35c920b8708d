"""The audit as a page for people and as JSON for the next audit."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape

from include.local_files import disk_full_errors, write_atomically
from include.sources.audit.results import AUDIT_FILE, Audit, to_json


def write_report(audit: Audit, folder: Path) -> Path:
    """Write ``audit.html`` and ``audit.json`` to ``<folder>/<last day>/``.

    Args:
        audit: The audit.
        folder: The folder of audits.

    Returns:
        The path of the page.
    """
    target = folder / str(audit.last)
    environment = Environment(loader=PackageLoader("include.sources"), autoescape=select_autoescape())
    environment.filters |= {"size": size, "count": count, "share": share, "duration": duration, "age": age}
    page = environment.get_template("audit.html").render(audit=audit, sources=list(audit.sources.values()))
    with disk_full_errors(str(target)):
        target.mkdir(parents=True, exist_ok=True)
        write_atomically(target / "audit.html", page)
        write_atomically(target / AUDIT_FILE, to_json(audit))
    return target / "audit.html"


def size(number: float | None) -> str:
    """Return bytes in the largest fitting unit.

    Examples:
        >>> size(12_345_678), size(None)
        ('12.3 MB', '-')
    """
    if number is None:
        return "-"
    for unit in ("B", "kB", "MB", "GB"):
        if abs(number) < 1000 or unit == "GB":
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return ""


def count(number: float | None) -> str:
    """Return a number with its thousands apart.

    Examples:
        >>> count(1234567), count(2.5), count(None)
        ('1,234,567', '2.5', '-')
    """
    if number is None:
        return "-"
    return f"{number:,.1f}" if abs(number) < 100 and number != int(number) else f"{number:,.0f}"


def share(number: float | None) -> str:
    """Return a share in per cent; one that is not whole never looks it.

    Examples:
        >>> share(1.0), share(0.99996), share(0.5), share(None)
        ('100 %', '99.99 %', '50 %', '-')
    """
    if number is None:
        return "-"
    if number in (0.0, 1.0):
        return f"{number:.0%}".replace("%", " %")
    text = f"{min(max(number * 100, 0.01), 99.99):.2f}".rstrip("0").rstrip(".")
    return f"{text} %"


def duration(seconds: float | None) -> str:
    """Return seconds, or milliseconds when there are few.

    Examples:
        >>> duration(0.0123), duration(2.5), duration(None)
        ('12.3 ms', '2.5 s', '-')
    """
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def age(days: float | None) -> str:
    """Return an age in days, or in hours when it is not a day.

    Examples:
        >>> age(0.25), age(12.0), age(None)
        ('6.0 h', '12 d', '-')
    """
    if days is None:
        return "-"
    return f"{days * 24:.1f} h" if 0 < days < 1 else f"{count(days)} d"
