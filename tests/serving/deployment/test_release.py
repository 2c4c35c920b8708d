"""The steps of a release, with stand-ins for the programs of containers and a simulated cluster."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from include.provenance.signature import read_signed
from include.provenance.statement import PROVENANCE_FILE, Provenance
from include.serving.deployment.pods import BENTO_TAG, IMAGE_TAG
from include.settings import ROOT, Settings
from include.training.model.bundle import Bundle
from include.training.release.registry import Registry
from tests.kubernetes.deployment import Fate, SimulatedDeployment
from tests.serving.deployment.released import REPOSITORY, register, signing_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DIGEST = "sha256:" + "c" * 64
IMAGE = f"{REPOSITORY}@{DIGEST}"
SBOM, PREDICATE = "var/release/sbom.json", "var/release/provenance.predicate.json"
STAND_IN = """#!{python}
import json, os, pathlib, sys
name = pathlib.Path(sys.argv[0]).name
with open(os.environ["CALLS"], "a") as calls:
    print(json.dumps([name, *sys.argv[1:]]), file=calls)
print("output of", name)
for option, value in zip(sys.argv[1:], sys.argv[2:]):
    if option == "--metadata-file":
        pathlib.Path(value).write_text(json.dumps({{"containerimage.digest": {digest!r}}}))
    if option == "--output":
        pathlib.Path(value.partition("=")[2]).write_text(json.dumps({{"components": [{{}}, {{}}]}}))
sys.exit(name == os.environ.get("FAILING"))
"""


class HealthOfBuiltImages(dict[str, dict[str, str]]):
    """What pods answer at ``/health``: a new image contains the Bento from which docker built it."""

    def __init__(self, former: dict[str, dict[str, str]], release: Release) -> None:
        super().__init__(former)
        self._release = release

    def __missing__(self, image: str) -> dict[str, str]:
        assert image == IMAGE
        return {"bento": self._release.built(), "model_version": self._release.version}


@dataclass
class Release:
    """A registered version with a signed provenance, and the environment of a CI job."""

    settings: Settings
    version: str
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(ROOT / "release/model.sh"), f"model-v{self.version}", REPOSITORY]
        environment = self.environment | environment
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=280
        )

    def calls(self) -> list[list[str]]:
        """Return the programs with their arguments, in the order of the calls."""
        file = self.folder / "calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def programs(self) -> list[str]:
        """Return the programs with their first arguments."""
        return [" ".join(call[:2]) for call in self.calls()]

    def built(self) -> str:
        """Return the Bento in the image."""
        (context,) = [call[call.index("--build-context") + 1] for call in self.calls() if call[0] == "docker"]
        return Path(context.removeprefix("bento=")).name

    def recorded(self) -> tuple[dict[str, str], str | None]:
        """Return the tags of the version in the registry, and the champion."""
        registry = Registry(self.settings)
        return registry.record(self.version).tags, registry.version_of("champion")


@dataclass(frozen=True)
class Registered:
    """A registry with a champion, and a version to release."""

    settings: Settings
    version: str

    @property
    def run_artifacts(self) -> Path:
        """The files of the version's run."""
        run_id = Registry(self.settings).record(self.version).run_id
        return self.settings.home / "artifacts" / run_id / "artifacts"


@pytest.fixture(scope="module")
def registered(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Registered:
    settings = signing_settings(tmp_path_factory.mktemp("registry"))
    _, version = (register(bundle, settings) for _ in range(2))
    return Registered(settings, version)


@pytest.fixture
def release(
    registered: Registered, cluster: SimulatedDeployment, cluster_settings: Settings, tmp_path: Path
) -> Release:
    settings = registered.settings
    Registry(settings).set_alias("champion", "1")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("docker", "syft", "grype", "cosign"):
        (programs / name).write_text(STAND_IN.format(python=sys.executable, digest=DIGEST))
        (programs / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHURN_")} | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "CHURN_HOME": str(settings.home),
        "CHURN_PROJECT": settings.project,
        "CHURN_MLFLOW__TRACKING_URI": settings.mlflow.tracking_uri,
        "CHURN_PROVENANCE__SIGNING_KEY": str(settings.provenance.signing_key),
        "CHURN_PROVENANCE__PUBLIC_KEY": str(settings.provenance.public_key),
        "CHURN_SERVING__BACKEND": "kubernetes",
        "CHURN_SERVING__PORT": str(cluster.port),
        "CHURN_SERVING__KUBERNETES__DEPLOYMENT": cluster_settings.serving.kubernetes.deployment,
    }
    release = Release(settings, registered.version, tmp_path, environment)
    cluster.health = HealthOfBuiltImages(cluster.health, release)
    cluster.steps = 20  # the release asks every two seconds
    return release


def test_release_builds_scans_signs_and_deploys_the_version(release: Release, cluster: SimulatedDeployment) -> None:
    done = release.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert release.programs() == [
        "docker buildx",
        "syft scan",
        f"grype sbom:{SBOM}",
        "cosign sign",
        "cosign attest",
        "cosign attest",
    ]
    build, list_components, _, *signatures = release.calls()
    assert build[build.index("--tag") + 1] == f"{REPOSITORY}:model-v{release.version}"
    assert list_components[2] == IMAGE
    assert [call[-1] for call in signatures] == [IMAGE] * 3
    assert [call[call.index("--predicate") + 1] for call in signatures[1:]] == [SBOM, PREDICATE]
    assert cluster.serving_images() == [IMAGE] * 3
    assert cluster.refused == []
    tags, champion = release.recorded()
    assert (tags[IMAGE_TAG], tags[BENTO_TAG], champion) == (IMAGE, release.built(), release.version)

    content = (release.folder / "var/release/provenance.json").read_bytes()
    statement = read_signed(content, release.settings.provenance.public_key, "release")
    assert json.loads((release.folder / PREDICATE).read_text()) == statement["predicate"]
    signed = Provenance.from_statement(statement)
    assert signed.checksums["image"] == {"image": DIGEST.removeprefix("sha256:")}
    assert set(signed.checksums) == {"run", "bundle", "bento", "image"}


@pytest.mark.parametrize(
    ("failing", "last"),
    [
        ("docker", "docker buildx"),
        ("syft", "syft scan"),
        ("grype", f"grype sbom:{SBOM}"),
        ("cosign", "cosign sign"),
    ],
)
def test_failed_program_ends_the_release_before_the_cluster_changes(
    release: Release, cluster: SimulatedDeployment, failing: str, last: str
) -> None:
    before = cluster.image, release.recorded()
    done = release.run(FAILING=failing)
    assert done.returncode != 0
    assert f"output of {failing}" in done.stderr
    assert "Traceback" not in done.stderr
    assert release.programs()[-1] == last
    assert (cluster.image, release.recorded()) == before


@contextmanager
def flipped_bit(file: Path, after: bytes) -> Iterator[None]:
    """Change the byte of a file after a text while the block runs."""
    content = file.read_bytes()
    position = content.index(after) + len(after)
    file.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
    try:
        yield
    finally:
        file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "after", "reason"),
    [
        ("model/data/bundle/model.ubj", b"", "The bundle of model version 2 differs from its provenance: model.ubj"),
        (PROVENANCE_FILE, b'"payload": "', "The provenance (cannot be read|is not signed)"),
        (PROVENANCE_FILE, b'"sig": "', "The provenance (cannot be read|is not signed)"),
    ],
)
def test_changed_bit_ends_the_release_before_an_image_is_built(
    release: Release, registered: Registered, cluster: SimulatedDeployment, name: str, after: bytes, reason: str
) -> None:
    before = cluster.image, release.recorded()
    with flipped_bit(registered.run_artifacts / name, after):
        done = release.run()
    assert done.returncode != 0
    assert re.search(reason, done.stderr), done.stderr
    assert release.programs() == []
    assert (cluster.image, release.recorded()) == before


def test_pods_that_never_become_ready_are_replaced_by_the_former_pods(
    release: Release, cluster: SimulatedDeployment
) -> None:
    former = cluster.image
    cluster.fates[IMAGE] = Fate.NEVER_READY
    done = release.run()
    assert done.returncode != 0
    assert "timed out progressing" in done.stderr
    assert cluster.image == former
    assert cluster.serving_images() == [former] * 3
    assert release.recorded()[1] == "1"
