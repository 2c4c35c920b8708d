from __future__ import annotations

import os
from pathlib import Path

import pytest

from include.serving.deployment.package import build_bento, find_bento, prune_bentos
from include.serving.deployment.state import BentoReference
from include.training.model.bundle import Bundle
from tests.serving.servers import record_deployment


@pytest.mark.slow
def test_bento_contains_what_serving_needs_under_the_models_version(
    bento: BentoReference, bundle: Bundle, bento_home: Path
) -> None:
    folder = Path(bento.path)
    assert (bento.model_version, bento.bento.split("-")[0]) == ("7", "7")
    assert folder.is_relative_to(bento_home)
    packages = {path.parent.name for path in (folder / "src").rglob("*.py")}
    serving = {"serving", "endpoint", "online_store", "prediction_log", "server"}
    assert packages == serving | {"include", "settings", "training", "model", "provenance"}
    assert not [path for path in folder.rglob("*") if path.suffix in {".pkl", ".pickle", ".joblib"}]
    packed = bento.load_bundle()
    assert (packed.contract, packed.samples) == (bundle.contract, bundle.samples)
    requirements = (folder / "env" / "python" / "requirements.txt").read_text().split()
    assert all("==" in line for line in requirements)
    assert any(line.startswith("xgboost-cpu==") for line in requirements)


@pytest.mark.slow
def test_building_again_returns_the_same_bento(bento: BentoReference, bundle: Bundle, bento_home: Path) -> None:
    built = (Path(bento.path) / "bento.yaml").stat().st_mtime_ns
    assert build_bento(bundle, "7", bento_home) == bento
    assert (Path(bento.path) / "bento.yaml").stat().st_mtime_ns == built


def test_old_bentos_are_deleted_except_those_in_use(tmp_path: Path) -> None:
    home = tmp_path / "mine"
    folders = [home / "bentos" / "bentos" / "churn" / f"{number}-x" for number in range(1, 8)]
    for built_at, folder in enumerate(folders):
        folder.mkdir(parents=True)
        (folder / "bento.yaml").touch()
        os.utime(folder / "bento.yaml", (built_at, built_at))
    shadow, previous, current = (BentoReference(f"{n}-x", str(n), str(folders[n - 1]), "mine") for n in (1, 2, 3))
    record_deployment(home, previous)
    record_deployment(home, current).begin(shadow, "shadow")
    assert prune_bentos(home, keep=2) == ["4-x", "5-x"]
    assert sorted(path.name for path in folders[0].parent.iterdir()) == ["1-x", "2-x", "3-x", "6-x", "7-x"]
    assert find_bento("6", home) == BentoReference("6-x", "6", str(folders[5]), "mine")
    assert find_bento("5", home) is None
