"""The serving image, built and started. `make images` and `make compose-test` do it with all images and services."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.images import RESTRICTED, check_serving, user_of
from benchmarks.serving_model import train_model
from include.serving.deployment.package import build_bento
from local.containers.base_image import base_image
from local.containers.engine import Engine, EngineError, find_engine
from local.containers.images import build_image, own_megabytes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

LIMIT_MB = 300


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    try:
        engine = find_engine(tmp_path_factory.mktemp("containers"))
        engine.run("run", "--rm", base_image(engine), "true")
    except EngineError as error:
        pytest.skip(f"No container runs on this machine. {error}")
    return engine


def test_serving_image_predicts_without_rights_on_a_read_only_root(engine: Engine, tmp_path: Path) -> None:
    model = train_model(tmp_path, trees=20)
    bento = Path(build_bento(model.bundle, "1", tmp_path / "serving" / "benchmark").path)

    image = build_image(engine, "serving", bento)

    assert user_of(engine, image) == "10001"
    check_serving(engine, image, model, *RESTRICTED)
    assert own_megabytes(engine, image) < LIMIT_MB
