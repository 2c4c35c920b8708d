"""Build a Bento from a model bundle, without a network, holding only what serving needs."""

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
from include.logs import get_logger
from include.serving.deployment.environment import bentoml_environment
from include.serving.deployment.pointer import BentoReference
from include.serving.deployment.transaction import bentos_in_use
from include.settings import ROOT
from include.training.model.bundle import Bundle

log = get_logger(__name__)

NAME = "churn"
# What the endpoint imports, and nothing else of the product.
_SOURCES = (
    "include/__init__.py",
    "include/errors.py",
    "include/local_files.py",
    "include/logs.py",
    "include/settings/*.py",
    "include/training/__init__.py",
    "include/training/model/__init__.py",
    "include/training/model/bundle.py",
    "include/training/model/calibration.py",
    "include/training/model/contract.py",
    "include/training/model/explain.py",
    "include/serving/__init__.py",
    "include/serving/endpoint/*.py",
    "include/serving/online_store/__init__.py",
    "include/serving/online_store/base.py",
    "include/serving/online_store/lmdb_store.py",
    "include/serving/online_store/redis_store.py",
    "include/serving/online_store/row_format.py",
    "include/serving/prediction_log/__init__.py",
    "include/serving/prediction_log/log.py",
    "include/serving/prediction_log/predictions.py",
    "include/serving/prediction_log/segments.py",
    "include/serving/prediction_log/shadow.py",
    "include/serving/server/*.py",
    "include/serving/shutdown_timeouts.py",
)
_PACKAGES = (
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
    "uvicorn",
    "uvloop",
)
_BUILD_SECONDS = 180


class PackagingError(ChurnflowError):
    """BentoML could not build the Bento."""


def build_bento(bundle: Bundle, model_version: str, serving_dir: Path) -> BentoReference:
    """Build the Bento of ``bundle`` under ``serving_dir``, or return the one built before from the same files.

    Its version is the model version and a checksum of everything inside, so that building twice changes nothing and
    a change of the service's code is never mistaken for what runs.

    Raises:
        PackagingError: BentoML refused; the message holds the end of what it said.
    """
    home = serving_dir.absolute() / "bentos"
    with tempfile.TemporaryDirectory(prefix="churn-bento-") as name:
        stage = Path(name)
        _stage(bundle, stage)
        tag_version = f"{model_version}-{_digest(stage)}"
        path = home / "bentos" / NAME / tag_version
        if not (path / "bento.yaml").is_file():
            _build(stage, tag_version, home)
    log.info("bento built", extra={"bento": tag_version, "model_version": model_version})
    return BentoReference(bento=tag_version, model_version=model_version, path=str(path))


def built_bento(model_version: str, serving_dir: Path) -> BentoReference | None:
    """Return the Bento that was built last of a model version; None when none is on this disk."""
    found = [path for path in _built(serving_dir) if path.name.startswith(f"{model_version}-")]
    if not found:
        return None
    return BentoReference(bento=found[-1].name, model_version=model_version, path=str(found[-1]))


def prune_bentos(serving_dir: Path, keep: int) -> list[str]:
    """Delete all Bentos but those in use and the ``keep`` built last; return the versions deleted.

    Raises:
        PointerError: A pointer is damaged; nothing is deleted.
    """
    named = bentos_in_use(serving_dir)
    built = _built(serving_dir)
    old = [path for path in built[: max(0, len(built) - keep)] if path.name not in named]
    for path in old:
        # A Bento is whole or not there, also when this is interrupted.
        doomed = path.with_name(f".{path.name}")
        path.rename(doomed)
        shutil.rmtree(doomed)
    log.info("bentos pruned", extra={"deleted": len(old), "left": len(built) - len(old)})
    return [path.name for path in old]


def _built(serving_dir: Path) -> list[Path]:
    """Return the folders of all Bentos, the one built last at the end."""
    files = (serving_dir.absolute() / "bentos" / "bentos" / NAME).glob("[!.]*/bento.yaml")
    return [file.parent for file in sorted(files, key=lambda file: file.stat().st_mtime_ns)]


def _stage(bundle: Bundle, stage: Path) -> None:
    for source in (path for pattern in _SOURCES for path in ROOT.glob(pattern)):
        target = stage / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    bundle.save(stage / "bundle")
    options = {
        "service": "include.serving.endpoint.service:ChurnService",
        "name": NAME,
        "include": ["include/**/*.py", "bundle/*"],
        # Locking would ask a package index; these versions are the ones that built and tested it.
        "python": {"packages": [*_pinned_packages()], "lock_packages": False},
    }
    (stage / "bentofile.yaml").write_text(yaml.safe_dump(options), encoding="utf-8")


def _pinned_packages() -> list[str]:
    # A pod that serves has no GPU: the CPU build spares it 470 MB.
    return [*(f"{name}=={version(name)}" for name in _PACKAGES), f"xgboost-cpu=={version('xgboost')}"]


def _digest(stage: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in stage.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(stage)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _build(stage: Path, tag_version: str, home: Path) -> None:
    # A process of its own: this one has imported ``include`` already, and from elsewhere.
    command = [sys.executable, "-m", "bentoml", "build", "--version", tag_version, "--output", "tag", "."]
    try:
        subprocess.run(
            command,
            cwd=stage,
            # BentoML installs uv into the environment to describe an image, even when it locks nothing.
            env=_without_settings(bentoml_environment(home)) | {"BENTOML_ENABLE_FEATURES": "no_image"},
            check=True,
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        raise _failed(tag_version, (error.stderr or error.stdout)[-2000:]) from error
    except subprocess.TimeoutExpired as error:
        raise _failed(tag_version, f"no end after {_BUILD_SECONDS} s") from error


def _without_settings(environment: dict[str, str]) -> dict[str, str]:
    # BentoML imports the service to describe it, and what it describes must not depend on where it will run.
    return {name: value for name, value in environment.items() if not name.startswith("CHURN_")}


def _failed(tag_version: str, said: str) -> PackagingError:
    return PackagingError(
        f"The Bento was not built: {said}",
        where=f"{NAME}:{tag_version}",
        remedy="Check that the model's bundle loads, then build again.",
    )
