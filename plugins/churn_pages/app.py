"""Model health, reports and metrics inside Airflow's UI, for whoever may read the monitoring DAG.

Airflow mounts a plugin's pages without asking who calls, so the application below asks by itself: every route depends
on Airflow's own check. It takes the bearer token of a request or the session cookie, which is all that a page in a
frame sends. The generated API description is off, since those routes would not ask.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from include.errors import ChurnflowError
from include.monitoring.health import Report, list_reports, model_health
from include.monitoring.metrics import CONTENT_TYPE, render_metrics
from include.reporting import html_templates
from include.settings import Settings, get_settings

MONITORING_DAG = "churn_monitor"
REPORT_KINDS = ("quality", "drift", "model")
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".md": "text/plain; charset=utf-8",  # as text, a browser shows it instead of saving it
}

_NEWEST_DAYS = 7
_DRIFTED_SHOWN = 10
# A report stands on Airflow's own address and must not act as its reader: it runs no scripts.
_STATIC = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
# Evidently draws with scripts, so its page is cut off from that address instead, and from the network.
_SCRIPTED = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; worker-src blob:; frame-ancestors 'self'"
)
_SCRIPTED_PAGES = {"evidently.html"}

_templates = html_templates(Path(__file__).parent / "templates")

app = FastAPI(
    title="Churnflow",
    dependencies=[Depends(requires_access_dag(method="GET", param_dag_id=MONITORING_DAG))],
    openapi_url=None,
)
CurrentSettings = Annotated[Settings, Depends(get_settings)]


@app.get("/health")
def show_health(request: Request, settings: CurrentSettings) -> HTMLResponse:
    """Show the deployed model, the newest drift verdict and realised performance, and the newest reports."""
    health = model_health(settings)
    drifted = [feature for feature in (health.drift or {}).get("features", []) if feature["drifted"]]
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
    """List all reports, newest day first."""
    days = _by_day(list_reports(settings.reports_dir))
    return _page(request, "reports.html", days=days, kinds=REPORT_KINDS)


@app.get("/view/{path:path}")
def view_report(request: Request, path: str, settings: CurrentSettings) -> HTMLResponse:
    """Show one report below a bar that leads back: inside Airflow's frame there is no other way."""
    _report_file(settings.reports_dir, path)
    return _page(request, "view.html", path=path)


@app.get("/reports/{path:path}")
def serve_report(path: str, settings: CurrentSettings) -> FileResponse:
    """Serve one report's file."""
    file = _report_file(settings.reports_dir, path)
    policy = _SCRIPTED if file.name in _SCRIPTED_PAGES else _STATIC
    return FileResponse(file, media_type=MEDIA_TYPES[file.suffix], headers=_headers(policy))


@app.get("/metrics")
def serve_metrics(settings: CurrentSettings) -> Response:
    """Return what monitoring found last, in Prometheus' text format; the scraper brings a bearer token."""
    return Response(render_metrics(settings), media_type=CONTENT_TYPE)


@app.exception_handler(ChurnflowError)
def show_error(request: Request, error: ChurnflowError) -> HTMLResponse:
    """Show a deliberate error's words, rather than a bare status."""
    return _page(request, "error.html", status=500, error=error)


def _page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    # Links hold the whole path, so that they also work where Airflow itself stands below a prefix.
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
    """Return ``(day, {kind: reports})`` in the order of the reports' days."""
    days: dict[str, dict[str, list[Report]]] = {}
    for report in reports:
        days.setdefault(report.day, {}).setdefault(report.kind, []).append(report)
    return list(days.items())


def _report_file(reports_dir: Path, path: str) -> Path:
    """Return the report at ``path`` below ``reports_dir``; anything else answers 404, as if it were not there."""
    root = reports_dir.resolve()
    try:
        # Links are followed before looking where the file is, so that none leads out.
        file = (root / path).resolve()
        allowed = any(file.is_relative_to(root / kind) for kind in REPORT_KINDS) and file.suffix in MEDIA_TYPES
        if allowed and file.is_file():
            return file
    except (OSError, ValueError, RuntimeError):  # a name too long, a null byte, a circle of links
        pass
    raise HTTPException(404, "There is no such report.")
