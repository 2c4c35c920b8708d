"""The model as MLflow loads it from the registry: columns as gold has them in, calibrated probabilities out.

It imports little, because it lies in the registry beside the bundle, and is loaded where the repository is not.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from include.training.model.bundle import Bundle

PROBABILITY = "churn_probability"
"""The only column of an answer."""


class RegisteredModel:
    """Answers MLflow's ``predict`` with what the bundle says.

    Args:
        bundle: The model.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def predict(self, model_input: pd.DataFrame) -> pd.DataFrame:
        """Return the calibrated churn probability of each of n rows, as a frame of one column with the same index.

        Args:
            model_input: The contract's features in any order, numbers and the texts of categories. MLflow has left out
                whatever other columns there were.

        Raises:
            EncodingError: A column is missing, or holds what is not a finite number.
        """
        return pd.DataFrame({PROBABILITY: self._bundle.predict(model_input)}, index=model_input.index)


def _load_pyfunc(data_path: str) -> RegisteredModel:
    """Return the model whose bundle lies in ``data_path``; MLflow calls it by this name.

    Raises:
        BundleError: The bundle is damaged.
    """
    return RegisteredModel(Bundle.load(Path(data_path)))
