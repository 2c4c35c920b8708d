"""The audit: what every source holds, before anything is written."""

from __future__ import annotations

from include.days import DayRange
from include.logs import get_logger
from include.projects import Project
from include.sources.bronze import find_source
from include.sources.origins import Origins
from include.sources.read_table import SourceTable

log = get_logger(__name__)


def audit_sources(project: Project, origins: Origins, days: DayRange) -> dict[str, dict[str, object]]:
    """Open every file of ``days`` without loading it, and return per source: files, bytes and undeclared columns.

    Raises:
        ChurnflowError: A file is missing, empty, corrupt or lacks a declared column; nothing was written.
    """
    report: dict[str, dict[str, object]] = {}
    for name, source in project.sources.items():
        found = find_source(name, source, origins, days)
        if isinstance(found, SourceTable):
            report[name] = {"table": found.where(days.last), "undeclared_columns": list(found.undeclared)}
            continue
        undeclared = sorted({column for delivery in found.items for column in delivery.undeclared})
        if undeclared:
            log.warning("undeclared columns", extra={"source": name, "columns": undeclared})
        report[name] = {
            "files": len(found.items),
            "bytes": sum(delivery.file.size for delivery in found.items),
            "undeclared_columns": undeclared,
        }
    return report
