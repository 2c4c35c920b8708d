"""Model health, reports and metrics inside Airflow's UI, for users who may read the monitoring DAG.

Airflow mounts the pages of a plugin without authentication. Every route therefore depends on the access check. The
generated API description is disabled, since its routes would not be checked.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from churn_pages.access import METRICS_PATH, readable_kinds, require_access
from churn_pages.dashboard import find_problems, read_dashboard
from churn_pages.figures import make_charts
from churn_pages.scrape import render_metrics
from include.errors import ChurnflowError
from include.monitoring.exposition import CONTENT_TYPE
from include.monitoring.history import read_history
from include.monitoring.results import Report, list_reports
from include.monitoring.summary import DaySummary
from include.reporting import html_templates
from include.settings import Settings, get_settings

PREFIX = "/churn"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".md": "text/plain; charset=utf-8",  # browsers display plain text, but download Markdown
}

_NEWEST_DAYS = 7
_DRIFTED_SHOWN = 10
# A report has Airflow's origin. It runs no scripts, which could act with the reader's session.
_STATIC = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
# Evidently's page needs scripts: it runs in a sandbox without Airflow's origin and without network access.
_SCRIPTED = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; worker-src blob:; frame-ancestors 'self'"
)
_SCRIPTED_PAGES = {"evidently.html"}

_templates = html_templates(Path(__file__).parent / "templates")

app = FastAPI(
    title="Churnflow",
    dependencies=[Depends(require_access)],
    openapi_url=None,
)
CurrentSettings = Annotated[Settings, Depends(get_settings)]
ReadableKinds = Annotated[frozenset[str], Depends(readable_kinds)]


@app.get("/health")
def show_health(request: Request, settings: CurrentSettings, user: GetUserDep, kinds: ReadableKinds) -> HTMLResponse:
    """Show what needs attention, the performance and the drift of a year, and the newest runs and reports.

    Args:
        request: The request.
        settings: The settings of the deployment.
        user: The user, who sees the runs of the DAGs that they may read.
        kinds: The kinds of reports that the user may read.
    """
    now = dt.datetime.now(dt.UTC)
    dashboard = read_dashboard(settings, get_auth_manager().get_authorized_dag_ids(user=user))
    history, result = dashboard.history.value or [], dashboard.result.value
    reports = _readable(dashboard.reports.value or [], kinds)
    features = result["drift"]["features"] if result else []
    return _page(
        request,
        "health.html",
        airflow=_root(request).removesuffix(PREFIX),
        page=dashboard,
        project=settings.project,
        schedule=settings.schedule,
        now=now,
        problems=find_problems(dashboard, now),
        history=history,
        charts=make_charts(history, dashboard.incidents.value or []) if history else None,
        drifted=[feature for feature in features if feature["drifted"] and feature["counts"]][:_DRIFTED_SHOWN],
        cards=_cards(reports),
        days=_days(reports, history)[:_NEWEST_DAYS],
    )


@app.get("/reports")
def show_reports(request: Request, settings: CurrentSettings, kinds: ReadableKinds) -> HTMLResponse:
    """List the figures and the reports of all days, newest day first.

    Args:
        request: The request.
        settings: The settings of the deployment.
        kinds: The kinds of reports that the user may read.
    """
    reports = _readable(list_reports(settings.reports_dir), kinds)
    days = _days(reports, read_history(settings.reports_dir))
    return _page(request, "reports.html", days=days, cards=_cards(reports))


@app.get("/view/{path:path}")
def view_report(request: Request, path: str, settings: CurrentSettings, kinds: ReadableKinds) -> HTMLResponse:
    """Show a report below a navigation bar, because Airflow's frame has no back button.

    Args:
        request: The request.
        path: The report's path below the reports' folder.
        settings: The settings of the deployment.
        kinds: The kinds of reports that the user may read.
    """
    _report_file(settings.reports_dir, path, kinds)
    return _page(request, "view.html", path=path)


@app.get("/reports/{path:path}")
def serve_report(path: str, settings: CurrentSettings, kinds: ReadableKinds) -> FileResponse:
    """Send the file of a report.

    Args:
        path: The report's path below the reports' folder.
        settings: The settings of the deployment.
        kinds: The kinds of reports that the user may read.
    """
    file = _report_file(settings.reports_dir, path, kinds)
    policy = _SCRIPTED if file.name in _SCRIPTED_PAGES else _STATIC
    return FileResponse(file, media_type=MEDIA_TYPES[file.suffix], headers=_headers(policy))


@app.get(METRICS_PATH)
def serve_metrics(settings: CurrentSettings) -> Response:
    """Return the state of the pipeline, of the model and of Airflow as Prometheus metrics.

    Args:
        settings: The settings of the deployment.
    """
    return Response(render_metrics(settings), media_type=CONTENT_TYPE)


@app.exception_handler(ChurnflowError)
def show_error(request: Request, error: ChurnflowError) -> HTMLResponse:
    """Show the message and the remedy of an error.

    Args:
        request: The request that failed.
        error: The error.
    """
    return _page(request, "error.html", status=500, error=error)


def _page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    content = _templates.get_template(template).render(root=_root(request), **values)
    return HTMLResponse(content, status_code=status, headers=_headers(_STATIC))


def _root(request: Request) -> str:
    # Links contain the full path, so that they also work if Airflow itself is below a path prefix.
    return str(request.scope["root_path"]).rstrip("/")


def _headers(policy: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "private, no-cache",
    }


def _cards(reports: Iterable[Report]) -> dict[str, str]:
    """Return the path of the card of each model version, newest version first."""
    cards = {report.day: report.path for report in reports if report.kind == "model"}
    return dict(sorted(cards.items(), key=lambda item: (len(item[0]), item[0]), reverse=True))


def _days(
    reports: Iterable[Report], history: Sequence[DaySummary]
) -> list[tuple[str, DaySummary | None, list[Report]]]:
    """Return each day with its summary, if it has been monitored, and its reports, newest day first."""
    summaries = {str(summary.day): summary for summary in history}
    of_day: dict[str, list[Report]] = {day: [] for day in summaries}
    for report in reports:
        if report.kind != "model":
            of_day.setdefault(report.day, []).append(report)
    return [(day, summaries.get(day), found) for day, found in sorted(of_day.items(), reverse=True)]


def _readable(reports: Iterable[Report], kinds: Set[str]) -> list[Report]:
    return [report for report in reports if report.kind in kinds]


def _report_file(reports_dir: Path, path: str, kinds: Set[str]) -> Path:
    """Return the report of one of ``kinds`` at ``path`` below ``reports_dir``, or answer 404 for any other path."""
    root = reports_dir.resolve()
    try:
        # Symbolic links are resolved first, so that none leads out of the folder.
        file = (root / path).resolve()
        allowed = any(file.is_relative_to(root / kind) for kind in kinds) and file.suffix in MEDIA_TYPES
        if allowed and file.is_file():
            return file
    except (OSError, ValueError, RuntimeError):  # a name that is too long, a null byte, a cycle of links
        pass
    raise HTTPException(404, "There is no such report.")
