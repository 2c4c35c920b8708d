from __future__ import annotations

from pathlib import Path

import pytest

from include.serving.deployment.package import build_bento
from include.serving.deployment.state import BentoReference
from include.training.model.bundle import Bundle


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
