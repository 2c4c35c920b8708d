"""The images of the Dockerfile: build them, and read their sizes."""

from __future__ import annotations

from pathlib import Path

from include.settings import ROOT
from local.containers.base_image import base_image, build_options
from local.containers.engine import Engine

IMAGES = {
    "airflow": "churnflow-airflow:local",
    "training": "churnflow-training:local",
    "serving": "churn-serving:local",
}
"""The names of the images by the target of the Dockerfile."""


def build_image(engine: Engine, target: str, bento: Path | None = None) -> str:
    """Build an image, and return its name.

    Args:
        engine: The container engine.
        target: The target of the Dockerfile.
        bento: The folder of the Bento, for the target ``serving``.

    Raises:
        EngineError: The build failed.
    """
    options = ["--target", target, *build_options(base_image(engine))]
    if bento is not None:
        options += ["--build-context", f"bento={bento}"]
    engine.build(ROOT, IMAGES[target], *options)
    return IMAGES[target]


def own_megabytes(engine: Engine, image: str) -> int:
    """Return the size of the layers that an image adds to its base, in 10^6 bytes.

    Args:
        engine: The container engine.
        image: The image.
    """
    return engine.megabytes(image) - engine.megabytes(base_image(engine))
