"""The model that MLflow registers: the bundle, and the code that answers with it, so that it is the one that serves.

Nothing is pickled: MLflow keeps the bundle's files and a few modules, and calls a function of one of them to load it.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pydantic
import scipy
import xgboost as xgb
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

from include.settings import ROOT
from include.training.model import registered
from include.training.model.bundle import Bundle
from include.training.model.contract import ModelContract
from include.training.model.source_files import source_files

_PACKAGES = (np, pd, pydantic, scipy, xgb)
_TYPES = {"number": "double", "category": "string"}


def log_model(bundle: Bundle) -> str:
    """Log the model to the active run, and return its address.

    ``mlflow.pyfunc.load_model`` loads it on any machine with the packages that it names. ``Registry.bundle`` returns
    the bundle inside.
    """
    with tempfile.TemporaryDirectory(prefix="churn-model-") as name, warnings.catch_warnings():
        # With an example, MLflow would load the model in this process and leave its code on the path.
        warnings.filterwarnings("ignore", message=".*input example was not provided")
        stage = Path(name)
        bundle.save(stage / "bundle")
        for source in source_files(registered.__name__):
            copy = stage / source.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
        logged = mlflow.pyfunc.log_model(
            name="model",
            loader_module=registered.__name__,
            data_path=str(stage / "bundle"),
            code_paths=[str(stage / "include")],
            signature=_signature(bundle.contract),
            # Named, because MLflow would otherwise load the model in another process to find out.
            pip_requirements=[f"{package.__name__}=={package.__version__}" for package in _PACKAGES],
        )
    return str(logged.model_uri)


def _signature(contract: ModelContract) -> ModelSignature:
    """Return the contract's columns in the types that gold has; a double and a string may both be null."""
    return ModelSignature(
        inputs=Schema([ColSpec(_TYPES[feature.dtype], feature.name) for feature in contract.features]),
        outputs=Schema([ColSpec("float", registered.PROBABILITY)]),
    )
