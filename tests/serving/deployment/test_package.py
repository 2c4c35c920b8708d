from __future__ import annotations

from pathlib import Path

import pytest

from include.serving.deployment.package import build_bento
from include.serving.deployment.pointer import BentoReference
from include.training.model.bundle import Bundle

pytestmark = pytest.mark.slow


def test_bento_is_versioned_with_the_model(bento: BentoReference, bento_home: Path) -> None:
    assert bento.model_version == "7"
    assert bento.bento.startswith("7-")
    assert Path(bento.path).is_relative_to(bento_home)


def test_bento_holds_only_what_serving_needs(bento: BentoReference) -> None:
    source = Path(bento.path) / "src"
    packages = {path.parent.name for path in source.rglob("*.py")}
    serving = {"serving", "endpoint", "online_store", "prediction_log", "server"}
    assert packages == serving | {"include", "settings", "training", "model"}
    assert not [path for name in ("batch.py", "update.py") for path in source.rglob(name)]
    assert not [path for path in Path(bento.path).rglob("*") if path.suffix in {".pkl", ".pickle", ".joblib"}]


def test_bundle_inside_is_whole(bento: BentoReference, bundle: Bundle) -> None:
    packed = Bundle.load(Path(bento.path) / "src" / "bundle")
    assert packed.contract == bundle.contract
    assert packed.samples == bundle.samples


def test_building_again_returns_the_same_bento(bento: BentoReference, bundle: Bundle, bento_home: Path) -> None:
    built = (Path(bento.path) / "bento.yaml").stat().st_mtime_ns
    assert build_bento(bundle, "7", bento_home) == bento
    assert (Path(bento.path) / "bento.yaml").stat().st_mtime_ns == built


def test_requirements_are_pinned_and_without_a_gpu(bento: BentoReference) -> None:
    lines = (Path(bento.path) / "env" / "python" / "requirements.txt").read_text().split()
    assert all("==" in line for line in lines)
    assert any(line.startswith("xgboost-cpu==") for line in lines)
