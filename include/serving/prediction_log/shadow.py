"""The shadow: a challenger that scores the champion's requests without answering them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter

from include.errors import ChurnflowError
from include.logs import get_logger
from include.settings import require_project
from include.training.model.bundle import Bundle
from include.training.model.contract import FeatureContract, ModelContract

log = get_logger(__name__)

REFUSED = Counter("ml_shadow_refused_total", "Server starts in which the shadow could not be loaded.")


class ShadowError(ChurnflowError):
    """A shadow cannot score the champion's requests."""


class Shadow:
    """A model that scores the champion's input matrices, with features matched by name.

    Args:
        bundle: The challenger.
        version: The version of the challenger.
        champion: The contract of the model that answers.

    Raises:
        ProjectMismatchError: The challenger is a model of another project.
        ShadowError: The champion does not read a feature of the challenger, or reads it with another type.
    """

    def __init__(self, bundle: Bundle, version: str, champion: ModelContract) -> None:
        self.version = version
        self.contract = bundle.contract
        self._bundle = bundle
        require_project(self.contract.project, champion.project, what="The shadow", where=f"model version {version}")
        position = {feature.name: index for index, feature in enumerate(champion.features)}
        unmet = [
            feature.name
            for feature in self.contract.features
            if feature.name not in position or champion.features[position[feature.name]].dtype != feature.dtype
        ]
        if unmet:
            raise ShadowError(
                f"The model in service does not read the features {', '.join(unmet)}, which the shadow needs.",
                where=f"shadow, model version {version}",
                remedy="Compare the two models on gold, as churn_train does before a promotion.",
            )
        self._columns = [position[feature.name] for feature in self.contract.features]
        self._codes = {
            index: _translation(champion.features[column], feature)
            for index, (column, feature) in enumerate(zip(self._columns, self.contract.features, strict=True))
            if feature.categories is not None
        }

    def score(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the churn probability of each row of the champion's matrix (n, k), shape (n,)."""
        own = np.ascontiguousarray(matrix[:, self._columns])
        for index, codes in self._codes.items():
            known = ~np.isnan(own[:, index])
            own[known, index] = codes[own[known, index].astype(np.intp)]
        return self._bundle.predict_matrix(own)


def load_shadow(folder: Path, version: str, champion: ModelContract) -> Shadow | None:
    """Return the shadow of a bundle; if it cannot be used, log the reason and return None.

    Args:
        folder: The bundle.
        version: The version of the shadow.
        champion: The contract of the model that answers.
    """
    try:
        shadow = Shadow(Bundle.load(folder), version, champion)
    except ChurnflowError as error:
        REFUSED.inc()
        log.error("shadow refused", extra={"reason": error.what, "remedy": error.remedy})
        return None
    log.info("shadow scores", extra={"model_version": version})
    return shadow


def _translation(champion: FeatureContract, own: FeatureContract) -> NDArray[np.float32]:
    """Return the shadow's code of each of the champion's categories; NaN for a category unknown to the shadow."""
    codes = {category: float(code) for code, category in enumerate(own.categories or ())}
    return np.array([codes.get(category, np.nan) for category in champion.categories or ()], dtype=np.float32)
