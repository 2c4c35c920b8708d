"""Build a Bento from a model bundle and the source files that serving imports. The build needs no network access."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import yaml

from include.errors import ChurnflowError
from include.lineage import BENTO, record_write
from include.logs import get_logger
from include.provenance.statement import PROVENANCE_FILE
from include.serving.deployment.bento_store import NAME, bentos_home
from include.serving.deployment.provenance import RegisteredModel, fetch, sign_bento
from include.serving.deployment.server_process import bentoml_environment
from include.serving.deployment.state import BentoReference
from include.settings import ROOT, Settings, require_project
from include.training.lineage import record_model_read
from include.training.model.bundle import Bundle
from include.training.model.source_files import source_files

log = get_logger(__name__)

TRAINING_PROVENANCE_FILE = "training_provenance.json"
# The program of a server process, and the service that BentoML loads; the other files follow from their imports.
_ENTRY_POINTS = ("include.serving.server.__main__", "include.serving.endpoint.service", "include.provenance.__main__")
_PACKAGES = (
    "cryptography",
    "filelock",
    "httptools",
    "lmdb",
    "limits",
    "numpy",
    "prometheus-client",
    "pyarrow",
    "pydantic",
    "pydantic-settings",
    "python-json-logger",
    "redis",
    "securesystemslib",
    "typer",
    "uvicorn",
    "uvloop",
)
_BUILD_SECONDS = 180


class PackagingError(ChurnflowError):
    """BentoML could not build the Bento."""


class BuildTimeoutError(PackagingError):
    """BentoML did not build a Bento in time."""

    can_retry = True


def build_bento(
    model: Bundle | RegisteredModel, model_version: str, serving_dir: Path, signing_key: Path | None = None
) -> BentoReference:
    """Build a Bento, or return the existing Bento with the same files.

    The version of the Bento consists of the model version and a checksum of the files. Building twice changes nothing,
    and a change of the service's code results in another version. A Bento contains the signed provenance of its model,
    and is signed when it is built; therefore the signature of an existing Bento is never renewed.

    Args:
        model: The model, with its provenance if it has one.
        model_version: The registry's version of the model.
        serving_dir: The project's folder of the deployment; Bentos are in ``bentos/`` below it.
        signing_key: The file of the private key that signs the provenance of the Bento.

    Raises:
        ProjectMismatchError: The model is of another project than the folder.
        PackagingError: BentoML failed; the message contains the end of its output.
    """
    registered = model if isinstance(model, RegisteredModel) else RegisteredModel(model)
    bundle = registered.bundle
    project = bundle.contract.project
    require_project(
        project, serving_dir.name, what=f"Model version {model_version}", where=f"run {bundle.contract.run_id}"
    )
    home = bentos_home(serving_dir)
    with tempfile.TemporaryDirectory(prefix="churn-bento-") as name:
        stage = Path(name)
        _stage(registered, stage)
        tag_version = f"{model_version}-{_digest(stage)}"
        path = home / "bentos" / NAME / tag_version
        signed = registered.provenance is None or (path / PROVENANCE_FILE).is_file()
        if not (path / "bento.yaml").is_file() or not signed:
            shutil.rmtree(path, ignore_errors=True)  # its build was interrupted before it was signed
            _build(stage, tag_version, home)
            if registered.provenance is not None:
                sign_bento(path, registered.provenance, signing_key)
    log.info("bento built", extra={"bento": tag_version, "model_version": model_version})
    return BentoReference(bento=tag_version, model_version=model_version, path=str(path), project=project)


def package(model_version: str, settings: Settings) -> BentoReference:
    """Build the Bento of a registered model version, after a check of its provenance.

    Args:
        model_version: The version.
        settings: The deployment.

    Raises:
        ProvenanceError: The model differs from its provenance, or the provenance is missing or not trusted.
        RegistryError: The registry does not answer, or has no such version.
        VersionError: The raw data of the model is missing or damaged, or its storage does not answer.
        BundleError: The version's bundle is damaged.
        PackagingError: BentoML could not build the Bento.
    """
    model = fetch(model_version, settings)
    record_model_read(settings, model_version, model.bundle.contract)
    built = build_bento(model, model_version, settings.serving_dir, settings.provenance.signing_key)
    record_write(BENTO, built.path.removesuffix(built.bento), built.bento)
    return built


def _stage(model: RegisteredModel, stage: Path) -> None:
    for source in source_files(*_ENTRY_POINTS):
        target = stage / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    model.bundle.save(stage / "bundle")
    if model.envelope:
        (stage / TRAINING_PROVENANCE_FILE).write_bytes(model.envelope)
    options = {
        "service": "include.serving.endpoint.service:ChurnService",
        "name": NAME,
        "include": ["include/**/*.py", "bundle/*", TRAINING_PROVENANCE_FILE],
        # Locking needs a package index. The pinned versions are those of this environment.
        "python": {"packages": [*_pinned_packages()], "lock_packages": False},
    }
    (stage / "bentofile.yaml").write_text(yaml.safe_dump(options), encoding="utf-8")


def _pinned_packages() -> list[str]:
    # A serving pod has no GPU; the CPU build is 470 MB smaller.
    return [*(f"{name}=={version(name)}" for name in _PACKAGES), f"xgboost-cpu=={version('xgboost')}"]


def _digest(stage: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in stage.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(stage)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _build(stage: Path, tag_version: str, home: Path) -> None:
    # In a new process, because this process has already imported another copy of ``include``.
    command = [sys.executable, "-m", "bentoml", "build", "--version", tag_version, "--output", "tag", "."]
    try:
        subprocess.run(
            command,
            cwd=stage,
            # Without this option BentoML installs uv into the environment, even without locking.
            env=_without_settings(bentoml_environment(home)) | {"BENTOML_ENABLE_FEATURES": "no_image"},
            check=True,
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        raise _failed(tag_version, (error.stderr or error.stdout)[-2000:]) from error
    except subprocess.TimeoutExpired as error:
        late = f"the build took longer than {_BUILD_SECONDS} s"
        raise _failed(tag_version, late, BuildTimeoutError) from error


def _without_settings(environment: dict[str, str]) -> dict[str, str]:
    # BentoML imports the service to describe it; the description must not depend on this deployment's settings.
    return {name: value for name, value in environment.items() if not name.startswith("CHURN_")}


def _failed(tag_version: str, output: str, kind: type[PackagingError] = PackagingError) -> PackagingError:
    return kind(
        f"The Bento was not built: {output}",
        where=f"{NAME}:{tag_version}",
        remedy="Check that the model's bundle loads, then build again.",
    )
