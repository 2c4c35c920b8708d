"""The MLflow ``pyfunc`` flavor of a bundle, which returns calibrated churn probabilities for feature columns.

MLflow stores this module beside the bundle and loads it without the repository, so it imports little.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from include.training.model.bundle import Bundle

PROBABILITY = "churn_probability"
"""The only output column."""


class PyfuncModel:
    """A bundle with MLflow's ``predict`` method.

    Args:
        bundle: The model.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def predict(self, model_input: pd.DataFrame) -> pd.DataFrame:
        """Return the calibrated churn probability of each of n rows, as a frame of one column with the same index.

        Args:
            model_input: The contract's features in any order: numbers, and categories as text. MLflow has removed all
                other columns.

        Raises:
            EncodingError: A column is missing, or holds a value that is not a finite number.
        """
        return pd.DataFrame({PROBABILITY: self._bundle.predict(model_input)}, index=model_input.index)


def _load_pyfunc(data_path: str) -> PyfuncModel:
    """Return the model whose bundle is in ``data_path``. MLflow finds this function by its name.

    Raises:
        BundleError: The bundle is damaged.
    """
    return PyfuncModel(Bundle.load(Path(data_path)))
