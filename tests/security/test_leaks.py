"""No secret is written anywhere, and no personal data outside the places of docs/privacy.md.

The whole chain runs with secrets in its environment, and with an id and an e-mail address in its raw data. Then every
byte of the deployment is searched: lake, logs, reports, MLflow, signed statements, XCom, DAGs and manifests.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow
import pytest
from pythonjsonlogger.json import JsonFormatter

from benchmarks.erasure_world import CUSTOMER, build_world, rename_household
from benchmarks.traces import find_traces
from include.days import DayRange
from include.features.labels import build_labels
from include.ingest import refine
from include.lake import open_lake
from include.monitoring.alerts import Addresses, run_failure
from include.monitoring.incidents import record_incidents
from include.monitoring.messages import LogOnly, send_messages, send_run_failure
from include.monitoring.monitor_day import monitor_day
from include.monitoring.slack import SlackBot, SlackWebhook
from include.projects import Project
from include.provenance.signature import create_keys
from include.readiness.gates import check_readiness
from include.readiness.results import write_page, write_results
from include.readiness.system import System
from include.retention.retention_list import score_day
from include.serving.deployment import deploy
from include.serving.online_store import open_store
from include.serving.online_store.update import update_store
from include.serving.prediction_log.collect import collect_predictions
from include.settings import ROOT, Settings, get_settings
from include.sources.audit import audit_sources
from include.sources.bronze import load_bronze
from include.sources.connections import Connections
from include.sources.database import SourceDatabase
from include.training.release.publish import publish_model
from include.training.tuning.study import SharedStudy
from tests.dags.test_training_task import CLUSTER
from tests.serving.conftest import free_port
from tests.versions.world import DAYS, short_project
from tests.world import write_world

pytestmark = [pytest.mark.slow, pytest.mark.airflow]

SECRET = "pl4nted-s3cret"
EMAIL = "pl4nted@example.org"
NOWHERE = "127.0.0.1:9"
SECRETS = {
    "CHURN_DATABASES__CRM": f"postgresql+psycopg2://user:{SECRET}@{NOWHERE}/crm",
    "CHURN_SERVING__STORE__URL": f"redis://:{SECRET}@{NOWHERE}/0",
    "CHURN_SERVING__API_KEY": SECRET,
    "CHURN_PRIVACY__KEY": f"{SECRET}-of-the-hashes-of-erased-ids",
    "CHURN_PRIVACY__OLD_KEYS": json.dumps([f"{SECRET}-of-the-hashes-made-before"]),
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "MLFLOW_TRACKING_PASSWORD": SECRET,
    "PGPASSWORD": SECRET,
    "AIRFLOW_CONN_SLACK_CHURN": f"slackwebhook://:{SECRET}@hooks.example.org",
    "AIRFLOW_CONN_CHURN_CRM": f"postgres://user:{SECRET}@{NOWHERE}/crm",
}
TUNING_STORAGE = f"postgresql+psycopg2://user:{SECRET}@{NOWHERE}/trials"
PERSONAL = {"landing", "lake", "online_store", "prediction_log", "prediction_log_spool", "training", "versions"}
"""The folders of a deployment that contain personal data, as docs/privacy.md lists them."""


def plant_personal_data(landing: Path) -> None:
    """Add the id, and e-mail addresses in a column, in an undeclared column, and in a value that is refused."""
    rename_household(landing, "7")
    people = landing / "demographics" / f"{DAYS.first}.csv"
    header, *rows = people.read_text().splitlines()
    people.write_text("\n".join([f"{header},contact", *(f"{row},{EMAIL}" for row in rows)]) + "\n")
    mailings = landing / "campaign_mailings" / f"{DAYS.first + dt.timedelta(days=2)}.csv"
    header, first, *rows = mailings.read_text().splitlines()
    named = first.replace("Type A", EMAIL)
    refused = ",".join([*rows[0].split(",")[:3], EMAIL, EMAIL])
    mailings.write_text("\n".join([header, named, refused, *rows[1:]]) + "\n")


def tolerant_project() -> Project:
    """Return the short project, whose gate stays open although two of 45 mailings are refused."""
    content = short_project().model_dump()
    content["checks"]["campaign_mailings"]["minimum_pass_share"] = 0.9
    return Project.model_validate(content)


def run_chain(settings: Settings) -> list[Any]:
    """Run every step of the DAGs, and return what the tasks return to Airflow."""
    project, lake, last = tolerant_project(), open_lake(settings), DayRange.single(DAYS.last)
    connections = Connections.from_settings(settings)
    returned: list[Any] = [audit_sources(project, lake, connections, DAYS, settings.reports_dir / "audit")]
    version = build_world(settings, project, DAYS)
    returned += [item.as_dict() for item in load_bronze(project, lake, connections, last, settings.privacy)]
    returned += [item.as_dict() for item in refine(project, lake, last, settings.reports_dir / "quality")]
    returned.append(build_labels(project, lake, last).as_dict())
    publish_model(settings, version)
    bento = deploy.build(version, settings)
    returned += [bento, deploy.smoke(bento, settings), score_day(DAYS.last, settings)]
    returned += [update_store(DAYS.last, settings).as_dict(), collect_predictions(settings).as_dict()]
    returned.append(monitor_day(project, settings, DAYS.last))
    returned += [asdict(incident) for incident in record_incidents(project, settings, DAYS.last)]
    now = dt.datetime.now(dt.UTC)
    ready = check_readiness(System(settings, project, now))
    write_results(ready, settings.reports_dir)
    write_page(ready, settings.reports_dir)
    failed = run_failure("churn_ingest", "run", {"load": None}, "", "", Addresses())
    send_run_failure(settings, LogOnly, Addresses(), DAYS.last, "churn_ingest/run/0", failed)
    returned.append(asdict(send_messages(settings, LogOnly(), Addresses())))
    return returned


def failures(settings: Settings) -> Iterator[str]:
    """Yield the tracebacks of steps that fail."""
    message = run_failure("churn_ingest", "run", {"load": None}, "", "", Addresses())
    redis = settings.serving.model_copy(
        update={"store": settings.serving.store.model_copy(update={"backend": "redis"})}
    )
    wrong = settings.model_copy(update={"serving": redis})

    def query() -> None:
        with SourceDatabase("crm", Connections.from_settings(settings)).connect():
            pass

    def pass_gate() -> None:
        refine(short_project(), open_lake(settings), DAYS, settings.reports_dir / "quality")

    def read_store() -> None:
        store = open_store(wrong)
        assert store is not None
        store.read([CUSTOMER])

    attempts: list[Callable[[], Any]] = [
        query,
        pass_gate,
        read_store,
        lambda: SharedStudy(
            "study",
            settings.home / "journal",
            Settings(training={"tuning_storage": TUNING_STORAGE}).training.tuning_storage,
        ),
        lambda: SlackWebhook(f"http://{NOWHERE}/services/{SECRET}", 0.01).deliver(
            "key", message, None, uncertain=False
        ),
        lambda: SlackBot(SECRET, "C1", f"http://{NOWHERE}", 0.01).deliver("key", message, None, uncertain=False),
        lambda: Settings(mlflow={"tracking_uri": f"postgresql://user:{SECRET}@host/mlflow"}),
        lambda: Settings(lake_uri=f"s3://key:{SECRET}@bucket/lake"),
    ]
    for attempt in attempts:
        with pytest.raises(Exception) as failed:  # noqa: PT011 - the text is examined, not the kind
            attempt()
        yield "".join(traceback.format_exception(failed.value))


def described_dags(backend: str) -> Iterator[str]:
    """Yield what Airflow stores about each DAG, and the manifests of the pods."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization
    from kubernetes.client import ApiClient

    bag = DagBag(str(ROOT / "dags"))
    assert bag.import_errors == {}
    for dag in bag.dags.values():
        yield json.dumps(DagSerialization.to_dict(dag), default=str)
        if backend == "kubernetes" and dag.dag_id == "churn_train":
            pod = dag.get_task("train").build_pod_request_obj({})
            yield json.dumps(ApiClient().sanitize_for_serialization(pod))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, airflow_database: None) -> Path:
    """The home of a deployment in which everything has run once."""
    home, keys = tmp_path_factory.mktemp("leaks"), tmp_path_factory.mktemp("keys")
    create_keys(keys / "signing.pem", keys / "public.pem")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        patch.setenv("CHURN_HOME", str(home))
        patch.setenv("CHURN_MLFLOW__TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        patch.setenv("CHURN_PROVENANCE__SIGNING_KEY", str(keys / "signing.pem"))
        patch.setenv("CHURN_PROVENANCE__PUBLIC_KEY", str(keys / "public.pem"))
        patch.setenv("CHURN_SERVING__PORT", str(free_port()))
        patch.chdir(home)
        get_settings.cache_clear()
        settings = get_settings()
        landing = Path(settings.landing_uri) / settings.project
        write_world(landing, DAYS)
        plant_personal_data(landing)
        mlflow.set_tracking_uri(settings.mlflow.tracking_uri)
        with recorded(home / "logs"):
            returned = run_chain(settings)
            (home / "logs" / "errors.log").write_text("\n".join(failures(settings)))
        (home / "xcom.json").write_text(json.dumps(returned, default=str, ensure_ascii=False))
        (home / "settings.txt").write_text(f"{settings!r}\n{settings.model_dump_json()}")
        (home / "dags.json").write_text("\n".join(described_dags("process")))
        (keys / "kubeconfig").write_text(json.dumps(CLUSTER))
        patch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(keys / "kubeconfig"))
        patch.setenv("CHURN_TRAINING__BACKEND", "kubernetes")
        patch.setenv("CHURN_TRAINING__POD__GPUS", "0")
        patch.setenv("CHURN_TRAINING__POD__TUNING_GPUS", "0")
        get_settings.cache_clear()
        (home / "pods.json").write_text("\n".join(described_dags("kubernetes")))
    get_settings.cache_clear()
    return home


@contextlib.contextmanager
def recorded(folder: Path) -> Iterator[None]:
    """Write all log records with their details, and the standard output, to files."""
    folder.mkdir()
    handler = logging.FileHandler(folder / "all.log")
    handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s", json_ensure_ascii=False))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("include").setLevel(logging.DEBUG)
    try:
        with (
            (folder / "output.log").open("w") as output,
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(output),
        ):
            yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def places(home: Path, text: str) -> set[str]:
    return {str(Path(place).relative_to(home)) for place in find_traces(home, text).places}


def test_no_secret_is_written(home: Path) -> None:
    assert places(home, SECRET) == set()


@pytest.mark.parametrize("personal", [CUSTOMER, EMAIL], ids=["id", "e-mail address"])
def test_personal_data_is_only_where_it_is_meant_to_be(home: Path, personal: str) -> None:
    found = places(home, personal)
    assert {place for place in found if Path(place).parts[0] not in PERSONAL} == set()
    assert {"landing", "lake"} <= {Path(place).parts[0] for place in found}, "the search does not find what is there"


def test_the_searched_files_have_the_content_of_every_step(home: Path) -> None:
    """A search of files that are empty would find nothing."""
    reports = {path.name for path in (home / "reports" / "grocery").iterdir()}
    assert {"quality", "drift", "audit", "model", "readiness"} <= reports
    expected = {
        "logs/all.log": ["checks reported", "sources audited", "day monitored"],
        "logs/errors.log": [
            "ConnectionLostError",
            "GateError",
            "SlackUnavailableError",
            "must not contain credentials",
        ],
        "xcom.json": ["rows_refused", "churn_probability"],
        "dags.json": ["churn_train", "churn_erase"],
        "pods.json": ["churn-tracking"],
    }
    for name, texts in expected.items():
        content = (home / name).read_text()
        assert [text for text in texts if text not in content] == [], name
