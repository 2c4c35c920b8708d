"""The HTML page of the readiness checks."""

from __future__ import annotations

from pathlib import Path

from include.local_files import write_atomically
from include.readiness.results import FOLDER, ReadinessResult
from include.reporting import html_templates

PAGE = "index.html"


def write_page(result: ReadinessResult, reports_dir: Path) -> Path:
    """Write ``readiness/index.html`` in place of an earlier page, and return its path.

    Args:
        result: The results.
        reports_dir: The project's folder of reports.
    """
    template = html_templates(Path(__file__).parent / "templates").get_template("readiness.html")
    path = reports_dir / FOLDER / PAGE
    write_atomically(path, template.render(result=result))
    return path
