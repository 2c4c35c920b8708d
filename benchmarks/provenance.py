"""Flip bytes of everything behind a model, and count the deployments that are refused: ``make bench NAME=provenance``.

Two versions of a model are trained from landing files, and the first is deployed with its image statement. Then one bit
is flipped in each file of the second version's raw data, run, bundle and Bento, in each signed statement, and in the
digest of its image. Each time the version is deployed: the deployment must fail, and the first version must serve. Some
changed Bentos are also given to the runner directly, as if they had changed after the check of the deployment. The last
line is ``{"links", "flipped", "refused"}``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import mlflow

from benchmarks.figures import print_figures
from benchmarks.local_stack import free_ports, running_runner
from benchmarks.quality import GROCERY, ingest_history
from include.errors import ChurnflowError
from include.lake import open_lake
from include.logs import configure_json_logs
from include.projects import load_project
from include.provenance.signature import create_keys
from include.provenance.statement import PROVENANCE_FILE, Link
from include.serving.deployment import deploy
from include.serving.deployment.rollout import roll_out
from include.serving.deployment.state import BentoReference, ServingState
from include.settings import ROOT, MlflowSettings, ProvenanceSettings, ServingSettings, Settings
from include.training.train import train_challenger
from include.versions.repository import open_repository
from include.versions.snapshot import version_dataset
from local.grocery_export import export

_IMAGE = "sha256:" + "5" * 64
"""The digest of an image; a build of an image is not part of this benchmark."""
_POSITIONS = 3
"""Flips in a file: in the first byte, the middle byte and the last byte."""


@dataclass
class _World:
    settings: Settings
    deployed: str
    target: str
    flipped: int = 0
    refused: int = 0
    served: int = 0

    def attempt(self, deployment: Callable[[], object]) -> None:
        """Try a deployment after a flip, and count whether it was refused and the first version still serves."""
        self.flipped += 1
        try:
            deployment()
        except ChurnflowError:
            self.refused += 1
        answer = httpx.get(f"{self.settings.serving.url}/health", timeout=5).json()
        self.served += answer["model_version"] == self.deployed


def _train(settings: Settings) -> list[str]:
    """Train two versions of the grocery model, and return the versions."""
    project = load_project(settings.project)
    training = project.training.model_copy(update={"n_trials": 1})
    export(Path(settings.landing_uri) / settings.project, GROCERY)
    dataset = ingest_history(project.model_copy(update={"training": training}), settings, GROCERY)
    version_dataset(project, open_lake(settings), open_repository(settings), dataset.folder)
    return [train_challenger(settings, dataset.folder).model_version for _ in range(2)]


@contextmanager
def _flipped(file: Path, position: int) -> Iterator[None]:
    """Flip one bit of a file until the block ends."""
    content = file.read_bytes()
    mode = file.stat().st_mode
    place = position * (len(content) - 1) // (_POSITIONS - 1)
    changed = bytearray(content)
    changed[place] ^= 1
    file.chmod(0o600)  # DVC's files are read-only
    file.write_bytes(changed)
    try:
        yield
    finally:
        file.write_bytes(content)
        file.chmod(mode)


def _flip_files(world: _World, files: list[Path], deployment: Callable[[], object]) -> None:
    for file in files:
        for position in range(_POSITIONS) if file.stat().st_size > 1 else ():
            with _flipped(file, position):
                world.attempt(deployment)


def _local(uri: str) -> Path:
    return Path(urlsplit(uri).path)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def measure(world: _World) -> dict[str, int]:
    """Flip bytes in each link, and return the number of flips by link."""
    settings, client = world.settings, mlflow.MlflowClient(world.settings.mlflow.tracking_uri)
    found = client.get_model_version(f"churn-{settings.project}", world.target)
    run = _local(str(client.get_run(str(found.run_id)).info.artifact_uri))
    model = _local(client.get_model_version_download_uri(f"churn-{settings.project}", world.target))
    counts: dict[str, int] = {}

    def build() -> dict[str, str]:
        return deploy.build(world.target, settings)

    # The files of the model, without the plots of the card.
    remote = _files(Path(open_repository(settings).remote))
    parts: dict[Link, list[Path]] = {
        "data": remote[:: max(1, len(remote) // 10)],
        "run": [*_files(run / "dataset"), run / PROVENANCE_FILE, *sorted(run.glob("*.json"))],
        "bundle": _files(model / "data" / "bundle"),
    }
    for link, files in parts.items():
        before = world.flipped
        _flip_files(world, files, build)
        counts[link] = world.flipped - before
    bento = BentoReference(**build())
    before = world.flipped
    _flip_files(world, _files(Path(bento.path)), lambda: roll_out(bento, settings))
    _flip_files(world, _files(Path(bento.path))[::10], lambda: _give_to_runner(bento, settings))
    counts["bento"] = world.flipped - before
    before = world.flipped
    _flip_image(world, bento)
    counts["image"] = world.flipped - before
    return counts


def _give_to_runner(bento: BentoReference, settings: Settings) -> None:
    state = ServingState(settings.serving_dir)
    revision = state.begin(bento)
    status = state.wait_for(revision, settings.serving.ready_timeout_seconds)
    state.undo(revision)
    if status is not None and status.phase == "failed":
        raise ChurnflowError(status.reason, where=bento.path, remedy="None.")


def _flip_image(world: _World, bento: BentoReference) -> None:
    keys = world.settings.provenance
    statement = Path(bento.path).parent / "image.json"
    common = ["--bento", bento.path, "--project", bento.project, "--model-version", bento.model_version]
    common += ["--public-key", str(keys.public_key)]
    command = [sys.executable, "-m", "include.provenance"]
    signed = subprocess.run(
        [*command, "sign-image", *common, "--image", _IMAGE, "--signing-key", str(keys.signing_key)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    statement.write_bytes(signed.stdout)

    def check(image: str = _IMAGE) -> None:
        done = subprocess.run(
            [*command, "check-image", *common, "--image", image, "--statement", str(statement)],
            cwd=ROOT,
            capture_output=True,
            check=False,
            text=True,
        )
        if done.returncode:
            raise ChurnflowError(done.stderr, where=str(statement), remedy="None.")

    check()  # unchanged
    world.attempt(lambda: check("sha256:" + "4" * 64))
    _flip_files(world, [statement], check)
    _flip_files(world, _files(Path(bento.path))[::10], check)


def main() -> None:
    """Run the flips, and print the figures as one JSON object on the last line."""
    configure_json_logs()
    with tempfile.TemporaryDirectory(prefix="churnflow-provenance-") as name:
        home = Path(name)
        os.chdir(home)
        private, public = home / "keys" / "signing.pem", home / "keys" / "public.pem"
        create_keys(private, public)
        settings = Settings(
            home=home,
            project="grocery",
            mlflow=MlflowSettings(tracking_uri=f"sqlite:///{home}/mlflow.db"),
            provenance=ProvenanceSettings(signing_key=private, public_key=public),
            serving=ServingSettings(port=free_ports(1)[0], workers=1, ready_timeout_seconds=60),
        )
        first, second = _train(settings)
        world = _World(settings, first, second)
        with running_runner(settings):
            roll_out(BentoReference(**deploy.build(first, settings)), settings)
            counts = measure(world)
            unchanged = deploy.build(second, settings)
            roll_out(BentoReference(**unchanged), settings)  # without a flip, it is deployed
        figures = {"links": len(counts), "flipped": world.flipped, "refused": world.refused}
        print_figures("provenance", figures, {"served": world.served, "by_link": counts})


if __name__ == "__main__":
    main()
