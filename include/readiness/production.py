"""The checks of gate 3: deployment, provenance, releases, rollback, load and infrastructure."""

from __future__ import annotations

import datetime as dt
import tomllib
from contextlib import closing
from pathlib import Path

from include.plurals import counted
from include.provenance.check import require_bento, require_image
from include.provenance.statement import Provenance
from include.readiness.system import Evidence, System
from include.serving.deployment.client import EndpointClient
from include.serving.deployment.state import BentoReference, open_state

_ANSWER_SECONDS = 2.0
_WORKFLOWS = (".github/workflows/ci.yml", ".github/workflows/release.yml")
_COMPOSE = "docker-compose.yaml"


def model_deployed(system: System) -> Evidence:
    """Check that the endpoint answers, and serves the champion."""
    url, champion = system.settings.serving.url, system.model("champion").version
    with closing(EndpointClient(url, system.settings.serving.api_key)) as client:
        health = client.health(_ANSWER_SECONDS)
    if health is None:
        return Evidence(False, f"The endpoint {url} does not answer.")
    return Evidence(
        passed=health.model_version == champion,
        text=f"{url}/health answers with version {health.model_version}; the champion is version {champion}.",
        figure=f"version {health.model_version}",
        time=system.now,
        link=f"{url}/health",
    )


def provenance(system: System) -> Evidence:
    """Check that the model that serves has the checksums of its provenance."""
    served = system.served()
    found = _served_provenance(system, served)
    if found is None:
        return Evidence(False, f"Version {served.model_version}, which serves, has no provenance.")
    checked = (
        "was checked" if system.settings.provenance.public_key else "was not checked, since there is no public key"
    )
    files = sum(len(link) for link in found.checksums.values())
    return Evidence(
        passed=True,
        text=f"Version {served.model_version}, which serves, has the checksums of its provenance, whose signature "
        f"{checked}.",
        figure=counted(files, "checksum"),
        time=system.now,
    )


def _served_provenance(system: System, served: BentoReference) -> Provenance | None:
    settings, version, key = system.settings, served.model_version, system.settings.provenance.public_key
    if settings.serving.backend == "runner":
        return require_bento(Path(served.path), settings.project, version, key)
    from include.serving.deployment.cluster import EndpointDeployment  # takes a second to import

    pods = EndpointDeployment(settings.serving.kubernetes).model()
    if not pods.statement:
        return None
    return require_image(pods.statement.encode(), pods.image, settings.project, version, key)


def ci_cd(system: System) -> Evidence:
    """Check that there are workflows, and that a release has built and recorded the champion's image.

    The runs of a CI system cannot be read from here. The image is evidence of a release, since only its steps record
    an image in the registry.
    """
    from include.serving.deployment.pods import released

    jobs = [job for path in _WORKFLOWS for job in system.document(path)["jobs"]]
    model = system.model("champion")
    image = released(model.version, system.settings).image
    return Evidence(
        passed=True,
        text=f"{' and '.join(_WORKFLOWS)} have the jobs {', '.join(jobs)}. A release built the image of the champion, "
        f"version {model.version}: {image}.",
        figure=f"version {model.version}",
        time=model.record.registered,  # the release is later
        link=model.link,
    )


def rollback_tested(system: System) -> Evidence:
    """Check that an earlier version has replaced a later version at the endpoint."""
    time = open_state(system.settings).last_rollback()
    if time is None:
        return Evidence(False, "The serving state contains no rollback. Run churn_rollback, and then deploy again.")
    return Evidence(True, "An earlier version replaced a later version at the endpoint.", time=time)


def load_test(system: System) -> Evidence:
    """Check that the newest load test met the project's present requirements."""
    from include.serving.load_test.load_report import FOLDER, PAGE, newest_load_test

    found = newest_load_test(system.settings.reports_dir)
    if found is None:
        return Evidence(False, "There is no load test. Run `make loadtest`.")
    folder, test = found
    performance = system.project.requirements.performance
    required = {
        "inference_p99_ms": performance.max_inference_p99_ms,
        "predictions_per_second": performance.min_predictions_per_second,
    }
    same = {item["name"]: item["required"] for item in test["verdicts"]} == required
    met = same and all(item["ok"] for item in test["verdicts"])
    p99 = "none" if test["p99_ms"] is None else f"{test['p99_ms']:,.1f} ms"
    return Evidence(
        passed=met,
        text=f"Version {test['model_version']} at {test['url']}, with {counted(test['connections'], 'connection')}: "
        f"p99 {p99} (at most {required['inference_p99_ms']:g} ms), {test['predictions_per_second']:,.0f} predictions/s "
        f"(at least {required['predictions_per_second']:,g})."
        + ("" if same else " The test did not check these requirements."),
        figure=f"p99 {p99}",
        time=dt.datetime.fromisoformat(test["started"]),
        link=f"{FOLDER}/{folder.name}/{PAGE}",
    )


def infrastructure_as_code(system: System) -> Evidence:
    """Check that the Compose file and the Helm charts are present, and that the charts are of this version."""
    services = system.document(_COMPOSE)["services"]
    charts = [system.document(f"helm/{folder.name}/Chart.yaml") for folder in sorted((system.root / "helm").glob("*/"))]
    version = tomllib.loads(system.text("pyproject.toml"))["project"]["version"]
    other = [chart["name"] for chart in charts if chart["appVersion"] != version]
    names = ", ".join(chart["name"] for chart in charts)
    return Evidence(
        passed=bool(charts) and not other,
        text=f"{_COMPOSE} has {counted(len(services), 'service')}. Charts of helm/: {names or 'none'}; "
        + (f"{', '.join(other)} differ from version {version}." if other else f"all are of version {version}.")
        + " They are rendered and validated by the tests (see tests_pass).",
        figure=counted(len(charts), "chart"),
        time=system.now,
    )


def capacity(system: System) -> Evidence:
    """Check that the serving chart scales the pods, and that the pods request CPU and memory."""
    path = "helm/churn-serving/values.yaml"
    values = system.document(path)
    scaling, requests = values["autoscaling"], values["resources"]["requests"]
    low, high = scaling["minReplicas"], scaling["maxReplicas"]
    return Evidence(
        passed=scaling["enabled"] and low < high and {"cpu", "memory"} <= requests.keys(),
        text=f"{path}: autoscaling {'on' if scaling['enabled'] else 'off'}, {low} to {high} pods, at "
        f"{scaling['targetCPUUtilizationPercentage']} % CPU and {scaling['targetMemoryUtilizationPercentage']} % "
        f"memory of the requested {requests.get('cpu', 'no')} cores and {requests.get('memory', 'no memory')}.",
        figure=f"{low} to {high} pods",
        time=system.now,
    )
