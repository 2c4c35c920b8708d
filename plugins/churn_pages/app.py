"""Model health, reports and metrics inside Airflow's UI, for users who may read the monitoring DAG.

Airflow mounts the pages of a plugin without authentication. Every route therefore depends on the access check. The
generated API description is disabled, since its routes would not be checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from churn_pages.access import METRICS_PATH, require_access
from churn_pages.scrape import render_metrics
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from include.errors import ChurnflowError
from include.monitoring.health import model_health
from include.monitoring.exposition import CONTENT_TYPE
from include.monitoring.results import Report, list_reports
from include.reporting import html_templates
from include.settings import Settings, get_settings

REPORT_KINDS = ("quality", "drift", "model")
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


@app.get("/health")
def show_health(request: Request, settings: CurrentSettings) -> HTMLResponse:
    """Show the deployed model, the newest drift verdict and realised performance, and the newest reports.

    Args:
        request: The request.
        settings: The settings of the deployment.
    """
    health = model_health(settings)
    features = (health.drift or {}).get("features", [])
    drifted = [feature for feature in features if feature["drifted"] and feature["counts"]]
    return _page(
        request,
        "health.html",
        health=health,
        drifted=drifted[:_DRIFTED_SHOWN],
        days=_by_day(health.reports)[:_NEWEST_DAYS],
        kinds=REPORT_KINDS,
    )


@app.get("/reports")
def show_reports(request: Request, settings: CurrentSettings) -> HTMLResponse:
    """List all reports, newest day first.

    Args:
        request: The request.
        settings: The settings of the deployment.
    """
    days = _by_day(list_reports(settings.reports_dir))
    return _page(request, "reports.html", days=days, kinds=REPORT_KINDS)


@app.get("/view/{path:path}")
def view_report(request: Request, path: str, settings: CurrentSettings) -> HTMLResponse:
    """Show a report below a navigation bar, because Airflow's frame has no back button.

    Args:
        request: The request.
        path: The report's path below the reports' folder.
        settings: The settings of the deployment.
    """
    _report_file(settings.reports_dir, path)
    return _page(request, "view.html", path=path)


@app.get("/reports/{path:path}")
def serve_report(path: str, settings: CurrentSettings) -> FileResponse:
    """Send the file of a report.

    Args:
        path: The report's path below the reports' folder.
        settings: The settings of the deployment.
    """
    file = _report_file(settings.reports_dir, path)
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
    # Links contain the full path, so that they also work if Airflow itself is below a path prefix.
    root = request.scope["root_path"].rstrip("/")
    content = _templates.get_template(template).render(root=root, **values)
    return HTMLResponse(content, status_code=status, headers=_headers(_STATIC))


def _headers(policy: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "private, no-cache",
    }


def _by_day(reports: tuple[Report, ...] | list[Report]) -> list[tuple[str, dict[str, list[Report]]]]:
    """Return ``(day, {kind: reports})`` in the order of ``reports``."""
    days: dict[str, dict[str, list[Report]]] = {}
    for report in reports:
        days.setdefault(report.day, {}).setdefault(report.kind, []).append(report)
    return list(days.items())


def _report_file(reports_dir: Path, path: str) -> Path:
    """Return the report at ``path`` below ``reports_dir``, or answer 404 for any other path."""
    root = reports_dir.resolve()
    try:
        # Symbolic links are resolved first, so that none leads out of the folder.
        file = (root / path).resolve()
        allowed = any(file.is_relative_to(root / kind) for kind in REPORT_KINDS) and file.suffix in MEDIA_TYPES
        if allowed and file.is_file():
            return file
    except (OSError, ValueError, RuntimeError):  # a name that is too long, a null byte, a cycle of links
        pass
    raise HTTPException(404, "There is no such report.")
