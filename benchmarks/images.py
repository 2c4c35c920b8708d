"""Build the images, start a container of each, and print their sizes: ``make images`` or ``make bench NAME=images``.

Each container runs with a read-only root file system, without capabilities, and without a way to gain privileges: the
endpoint answers a prediction, Airflow migrates a database and parses the DAGs, and a training fits a small model. The
last line is ``{"airflow_mb", "training_mb", "serving_mb", "root", "writable_root"}``: the sizes of the layers that each
image adds to its base, the number of images that run as root, and the number that fail on a read-only root.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import numpy as np

from benchmarks.figures import print_figures, report
from benchmarks.local_stack import free_ports
from benchmarks.serving_model import Model, train_model
from include.serving.deployment.package import build_bento
from include.settings import get_settings
from local.containers.engine import Engine, EngineError, find_engine
from local.containers.images import build_image, own_megabytes

RESTRICTED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "all", "--security-opt", "no-new-privileges")  # noqa: S108 - inside a container
_JSON = {"Content-Type": "application/json"}
_START_SECONDS = 120.0
_TREES = 60
# Airflow keeps its configuration and its database in AIRFLOW_HOME.
_AIRFLOW = ("--env", "AIRFLOW_HOME=/tmp/airflow", "--env", "AIRFLOW__CORE__DAGS_FOLDER=/opt/churnflow/dags")
_PARSE = (
    "airflow db migrate && airflow dags list-import-errors --local --output json"
    " && airflow dags list --local --output json"
)
_FIT = """
import numpy as np, xgboost
from include.training import __main__
rows = np.random.default_rng(0).random((1000, 4))
booster = xgboost.train({"max_depth": 2}, xgboost.DMatrix(rows, label=rows[:, 0] > .5), 5)
print(float(booster.inplace_predict(rows[:1])[0]))
"""


def check_airflow(engine: Engine, image: str, *options: str) -> None:
    """Migrate a database and parse the DAGs in a container.

    Args:
        engine: The container engine.
        image: The image of Airflow.
        options: Further options of the container.

    Raises:
        EngineError: The container failed, or a DAG could not be imported.
    """
    output = engine.run("run", "--rm", *options, *_AIRFLOW, image, "bash", "-ec", _PARSE).stdout
    listed = [json.loads(line) for line in output.splitlines() if line.startswith("[")]
    if listed[0] or "churn_train" not in {dag["dag_id"] for dag in listed[-1]}:
        raise EngineError(f"The DAGs were not parsed: {listed[0]}", where=image, remedy="Correct the files in dags/.")


def check_training(engine: Engine, image: str, *options: str) -> None:
    """Fit a model in a container, and check that the image contains no Airflow.

    Args:
        engine: The container engine.
        image: The image of the training.
        options: Further options of the container.

    Raises:
        EngineError: The container failed, or contains Airflow.
    """
    engine.run("run", "--rm", *options, "--entrypoint", "python", image, "-c", _FIT)
    found = engine.run("run", "--rm", *options, "--entrypoint", "python", image, "-c", "import airflow", check=False)
    if found.returncode == 0:
        raise EngineError("The image contains Airflow.", where=image, remedy="Correct the stage `trained`.")


def check_serving(engine: Engine, image: str, model: Model, *options: str) -> float:
    """Start the endpoint in a container, compare its predictions with the model's, and return its start in seconds.

    Args:
        engine: The container engine.
        image: The serving image.
        model: The model of its Bento.
        options: Further options of the container.

    Raises:
        EngineError: The endpoint did not start, or predicts other probabilities.
    """
    port = free_ports(1)[0]
    began = time.perf_counter()
    with _container(engine, *options, "--publish", f"127.0.0.1:{port}:8000", image) as container:
        url = f"http://127.0.0.1:{port}"
        while not _is_healthy(url):
            if time.perf_counter() - began > _START_SECONDS:
                log = engine.run("logs", container, check=False)
                raise EngineError("The endpoint did not start.", where=image, remedy=f"Its log: {log.stdout[-2000:]}")
            time.sleep(0.1)
        seconds = time.perf_counter() - began
        answers = [httpx.post(f"{url}/predict", content=body, headers=_JSON).json() for body in model.bodies()[:8]]
    if not np.allclose([answer["churn_probability"] for answer in answers], model.probabilities()[:8], atol=1e-6):
        raise EngineError("The endpoint predicts other probabilities.", where=image, remedy="Compare the lock files.")
    return seconds


def measure(engine: Engine) -> tuple[dict[str, int], dict[str, object]]:
    """Build and start the images, and return the figures and the details.

    Args:
        engine: The container engine.
    """
    with tempfile.TemporaryDirectory(prefix="churnflow-images-") as name:
        model = train_model(Path(name), _TREES)
        bento = Path(build_bento(model.bundle, "1", Path(name) / "serving" / "benchmark").path)
        images = {
            target: build_image(engine, target, bento if target == "serving" else None)
            for target in ("airflow", "training", "serving")
        }
        checks: dict[str, Callable[..., float | None]] = {
            "airflow": partial(check_airflow, engine, images["airflow"]),
            "training": partial(check_training, engine, images["training"]),
            "serving": partial(check_serving, engine, images["serving"], model),
        }
        root = writable = 0
        details: dict[str, object] = {"engine": engine.name}
        for target, check in checks.items():
            report(f"Starting {images[target]} ...")
            root += user_of(engine, images[target]) == "0"
            try:
                details[f"{target}_seconds"] = check(*RESTRICTED)
            except EngineError as error:
                check()  # an error that has another cause ends the benchmark
                report(error)
                writable += 1
            details[f"{target}_total_mb"] = engine.megabytes(images[target])
        figures = {f"{target}_mb": own_megabytes(engine, image) for target, image in images.items()}
    return figures | {"root": root, "writable_root": writable}, details


def user_of(engine: Engine, image: str) -> str:
    """Return the id of the user as which an image runs.

    Args:
        engine: The container engine.
        image: The image.
    """
    return engine.run("run", "--rm", "--entrypoint", "id", image, "-u").stdout.strip()


@contextmanager
def _container(engine: Engine, *arguments: str) -> Iterator[str]:
    container = engine.run("run", "--detach", *arguments).stdout.strip()
    try:
        yield container
    finally:
        engine.run("rm", "--force", container, check=False)


def _is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).is_success
    except httpx.TransportError:
        return False


def main() -> None:
    """Print the figures as one JSON object on the last line."""
    figures, details = measure(find_engine(get_settings().home / "containers"))
    print_figures("images", figures, details)


if __name__ == "__main__":
    main()
