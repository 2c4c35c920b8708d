"""The audit as a page for people and as JSON for the next audit."""

from __future__ import annotations

from pathlib import Path

from include.local_files import disk_full_errors, write_atomically
from include.reporting import html_templates
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
    template = html_templates(Path(__file__).parents[1] / "templates").get_template("audit.html")
    page = template.render(audit=audit, sources=list(audit.sources.values()))
    with disk_full_errors(str(target)):
        target.mkdir(parents=True, exist_ok=True)
        write_atomically(target / "audit.html", page)
        write_atomically(target / AUDIT_FILE, to_json(audit))
    return target / "audit.html"
