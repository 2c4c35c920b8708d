"""Registered and released models with a signed provenance, and the cluster of a chart that checks it."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow

from include.projects.training import LeakageLimits
from include.provenance.check import image_link
from include.provenance.signature import create_keys, sign
from include.provenance.statement import PROVENANCE_FILE, Provenance, checksums_of
from include.serving.deployment.pods import Release, record_release
from include.serving.deployment.state import BentoReference
from include.settings import ROOT, ClusterSettings, MlflowSettings, ProvenanceSettings, ServingSettings, Settings
from include.training.evaluation.leakage import LEAKAGE_FILE, LeakageReport
from include.training.model.bundle import Bundle
from tests.infra.charts import Chart
from tests.kubernetes.deployment import SimulatedDeployment
from tests.kubernetes.init_container import Node

REPOSITORY = "registry.example/churn-serving"


def image_of(version: str) -> str:
    """Return the image of a version with its digest."""
    return f"{REPOSITORY}@sha256:{version * 64}"


def signing_settings(home: Path, project: str = "synthetic") -> Settings:
    """Return settings with a registry in a file and new keys."""
    create_keys(home / "signing.pem", home / "public.pem")
    return Settings(
        home=home,
        project=project,
        mlflow=MlflowSettings(tracking_uri=f"sqlite:///{home}/mlflow.db"),
        provenance=ProvenanceSettings(signing_key=home / "signing.pem", public_key=home / "public.pem"),
    )


def register(bundle: Bundle, settings: Settings) -> str:
    """Register a bundle with a clean leakage report and a signed provenance, as training does."""
    uri, name = settings.mlflow.tracking_uri, f"churn-{settings.project}"
    client = mlflow.MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("churn")
    artifacts = (settings.home / "artifacts").as_uri()
    number = experiment.experiment_id if experiment else client.create_experiment("churn", artifact_location=artifacts)
    if experiment is None:
        client.create_registered_model(name)
    run = client.create_run(number).info
    bundle.save(settings.home / run.run_id / "bundle")
    client.log_artifacts(run.run_id, str(settings.home / run.run_id / "bundle"), "model/data/bundle")
    clean = LeakageReport(findings=(), limits=LeakageLimits(), features=(), splits=(), skipped=())
    client.log_text(run.run_id, clean.model_dump_json(), LEAKAGE_FILE)
    version = str(client.create_model_version(name, f"{run.artifact_uri}/model", run.run_id).version)
    files = checksums_of(settings.home / "artifacts" / run.run_id / "artifacts")
    provenance = Provenance(settings.project, run.run_id, version).with_link("run", {LEAKAGE_FILE: files[LEAKAGE_FILE]})
    provenance = provenance.with_link("bundle", checksums_of(settings.home / run.run_id / "bundle"))
    client.log_text(run.run_id, sign(provenance.as_statement(), settings.provenance.signing_key), PROVENANCE_FILE)
    return version


def synthetic_provenance(version: str) -> Provenance:
    """Return the provenance of a version before it is packaged."""
    return Provenance("synthetic", "run-1", version).with_link("bundle", {"model.ubj": "1" * 64})


def flip(file: Path) -> None:
    """Flip one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def signed_copy(bento: BentoReference, version: str, settings: Settings) -> BentoReference:
    """Return a copy of a Bento that is signed as the Bento of a version."""
    folder = settings.home / "signed" / version
    shutil.copytree(bento.path, folder)
    provenance = synthetic_provenance(version).with_link("bento", checksums_of(folder))
    (folder / PROVENANCE_FILE).write_text(sign(provenance.as_statement(), settings.provenance.signing_key))
    return replace(bento, bento=f"{version}-x", model_version=version, path=str(folder))


def statement_of(bento: BentoReference, settings: Settings) -> str:
    """Return the signed provenance of the image of a signed Bento."""
    statement = json.loads((Path(bento.path) / PROVENANCE_FILE).read_bytes())
    provenance = Provenance.from_statement(json.loads(base64.b64decode(statement["payload"])))
    complete = provenance.with_link("image", image_link(image_of(bento.model_version)))
    return sign(complete.as_statement(), settings.provenance.signing_key)


@dataclass
class CheckedCluster:
    """A cluster whose pods check the provenance of their image, and the settings of the processes that deploy."""

    simulated: SimulatedDeployment
    settings: Settings

    def release(self, bento: BentoReference) -> None:
        """Build the image of a Bento, and record it in the registry."""
        image = image_of(bento.model_version)
        self.add_image(bento)
        release = Release(image, bento.bento, statement_of(bento, self.settings))
        record_release(bento.model_version, release, self.settings)

    def add_image(self, bento: BentoReference) -> None:
        """Build the image of a Bento."""
        image = image_of(bento.model_version)
        self.simulated.node.images[image] = Path(bento.path)
        self.simulated.health[image] = {"bento": bento.bento, "model_version": bento.model_version}


def checked_cluster(helm: str, first: BentoReference, settings: Settings) -> CheckedCluster:
    """Install the chart with the image of a Bento; the pods check its provenance.

    Args:
        helm: The helm binary.
        first: The signed Bento in the image of the chart's values.
        settings: The keys and the registry.
    """
    assert settings.provenance.public_key is not None
    values = {
        "image": {"repository": REPOSITORY, "digest": image_of(first.model_version).partition("@")[2]},
        "provenance": {
            "enabled": True,
            "publicKey": {"configMap": "churn-public-key"},
            "statement": statement_of(first, settings),
        },
    }
    documents = Chart(helm, ROOT / "helm/churn-serving", settings.home).by_kind(**values)
    node = Node(
        images={image_of(first.model_version): Path(first.path)},
        config_maps={"churn-public-key": {"public.pem": settings.provenance.public_key.read_text()}},
    )
    simulated = SimulatedDeployment(documents["Deployment"], documents["Role"], node=node)
    cluster = CheckedCluster(simulated, settings)
    cluster.add_image(first)
    return cluster


def in_pods(settings: Settings, port: int) -> Settings:
    """Return settings of a deployment to a simulated cluster."""
    kubernetes = ClusterSettings(rollout_seconds=20)
    serving = ServingSettings(backend="kubernetes", port=port, ready_timeout_seconds=2, kubernetes=kubernetes)
    return settings.model_copy(update={"serving": serving})
