"""The base image: Python on Debian, pulled, or built from Debian's packages where no image can be pulled."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from include.settings import ROOT
from local.containers.engine import CERTIFICATES, Engine, EngineError

LOCAL_BASE = "localhost/churnflow-base:bookworm"
_PACKAGES = "python3.11,python3-pip,python3.11-venv,ca-certificates"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def base_image(engine: Engine) -> str:
    """Return the base image of the Dockerfile, or the local base image where that cannot be pulled.

    Args:
        engine: The container engine.

    Raises:
        EngineError: The image can neither be pulled nor built.
    """
    (image,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    if engine.pull(image):
        return str(image)
    if not engine.has_image(LOCAL_BASE):
        _build(engine, image)
    return LOCAL_BASE


def build_options(base: str) -> list[str]:
    """Return the options of a build on a base image.

    Args:
        base: The base image.
    """
    options = ["--build-arg", f"PYTHON_IMAGE={base}"]
    if base == LOCAL_BASE:
        # pip and uv trust the certificates of this machine, as the machine's own pip does.
        options += ["--env", f"PIP_CERT={CERTIFICATES}", "--env", f"SSL_CERT_FILE={CERTIFICATES}"]
    return options


def _build(engine: Engine, pulled: str) -> None:
    if engine.name != "podman" or shutil.which("debootstrap") is None:
        raise EngineError(
            f"{pulled} could not be pulled.",
            where=engine.name,
            remedy="Allow access to an image registry, or install podman and debootstrap and repeat as root.",
        )
    with tempfile.TemporaryDirectory(prefix="churnflow-base-") as name:
        root = Path(name) / "root"
        command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise EngineError(
                f"debootstrap ended with status {done.returncode}: {done.stdout.strip()[-500:]}",
                where="debootstrap",
                remedy="Repeat as root on a machine that reaches a mirror of Debian.",
            )
        (root / "usr/bin/python").symlink_to("python3.11")
        (root / "usr/lib/python3.11/EXTERNALLY-MANAGED").unlink()
        # How this machine reaches its package indexes.
        for path in (CERTIFICATES, "/etc/pip.conf"):
            if Path(path).exists():
                shutil.copy(path, root / path[1:])
        for archive in (root / "var/cache/apt/archives").glob("*.deb"):
            archive.unlink()
        shutil.rmtree(root / "var/lib/apt/lists")
        archive = Path(name) / "base.tar"
        subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
        engine.run("import", "--change", f"ENV PATH={_PATH}", str(archive), LOCAL_BASE)
