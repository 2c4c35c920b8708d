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
from include.serving.pointer import BentoReference
from include.serving.process import bentoml_environment
from include.settings import ROOT
from include.training.bundle import Bundle

log = get_logger(__name__)

NAME = "churn"
_SOURCES = (
    "include/__init__.py",
    "include/errors.py",
    "include/logs.py",
    "include/settings.py",
    "include/training/__init__.py",
    "include/training/bundle.py",
    "include/serving/__init__.py",
    "include/serving/guard.py",
    "include/serving/lean.py",
    "include/serving/requests.py",
    "include/serving/scorer.py",
    "include/serving/service.py",
)
_PACKAGES = (
    "httptools",
    "numpy",
    "prometheus-client",
    "pydantic",
    "pydantic-settings",
    "python-json-logger",
    "uvloop",
)
_BUILD_SECONDS = 180


class PackagingError(ChurnflowError):
    """BentoML could not build the Bento."""


def build_bento(bundle: Bundle, serving_dir: Path) -> BentoReference:
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
        tag_version = f"{bundle.contract.model_version}-{_digest(stage)}"
        path = home / "bentos" / NAME / tag_version
        if not (path / "bento.yaml").is_file():
            _build(stage, tag_version, home)
    log.info("bento built", extra={"bento": tag_version, "model_version": bundle.contract.model_version})
    return BentoReference(bento=tag_version, model_version=bundle.contract.model_version, path=str(path))


def _stage(bundle: Bundle, stage: Path) -> None:
    for source in _SOURCES:
        target = stage / source
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / source, target)
    bundle.save(stage / "bundle")
    options = {
        "service": "include.serving.service:ChurnService",
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
            env=bentoml_environment(home) | {"BENTOML_ENABLE_FEATURES": "no_image"},
            check=True,
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        raise _failed(tag_version, (error.stderr or error.stdout)[-2000:]) from error
    except subprocess.TimeoutExpired as error:
        raise _failed(tag_version, f"no end after {_BUILD_SECONDS} s") from error


def _failed(tag_version: str, said: str) -> PackagingError:
    return PackagingError(
        f"The Bento was not built: {said}",
        where=f"{NAME}:{tag_version}",
        remedy="Check that the model's bundle loads, then build again.",
    )
