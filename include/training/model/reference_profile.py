"""The reference profile: the distributions of a model's inputs and scores on the latest rows that it was fitted on.

Drift detection compares production rows with the profile, so the training rows are not read again. The profile is
stored in the model's bundle as ``profile.json``.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from include.training.model.bundle import PROFILE_FILE, Bundle, BundleError

SCORE = "churn_probability"
"""The name under which the profile contains the distribution of the model's scores."""

Rule = Literal["missing", "wasserstein", "ks", "category_share"]
"""The statistics of a change; see ``include.training.evaluation.change``."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _FeatureProfile(_Frozen):
    """The parts that the profiles of numbers and categories share.

    Attributes:
        rows: The number of rows.
        influence: The feature's share of the model's mean absolute SHAP contributions, from 0 to 1; 1 for the score.
        natural: The largest statistic of each rule between two past snapshots that are as far apart as the reference
            and a monitored day; empty if there are no such snapshots.
    """

    rows: int = Field(ge=1)
    influence: float = Field(default=0.0, ge=0, le=1)
    natural: dict[Rule, float] = {}


class NumberProfile(_FeatureProfile):
    """The distribution of a number, as 32-bit floats, like the model's inputs.

    Attributes:
        kind: ``number``.
        edges: About 100 different quantiles, from the minimum to the maximum; empty if all values are missing.
        at_most: The number of values up to each edge, inclusive.
        below: The number of values below each edge.
        mean: The mean.
        variance: The mean squared deviation from the mean.
        kurtosis: The mean fourth power of the deviation, divided by the squared variance; 0 for a constant.
    """

    kind: Literal["number"] = "number"
    edges: tuple[float, ...] = ()
    at_most: tuple[int, ...] = ()
    below: tuple[int, ...] = ()
    mean: float = 0.0
    variance: float = 0.0
    kurtosis: float = 0.0

    @property
    def values(self) -> int:
        """The number of rows with a value."""
        return self.at_most[-1] if self.at_most else 0


class CategoryProfile(_FeatureProfile):
    """The distribution of a category.

    Attributes:
        kind: ``category``.
        counts: The number of rows with each text.
    """

    kind: Literal["category"] = "category"
    counts: dict[str, int] = {}

    @property
    def values(self) -> int:
        """The number of rows with a value."""
        return sum(self.counts.values())


FeatureProfile = Annotated[NumberProfile | CategoryProfile, Field(discriminator="kind")]


class ReferenceProfile(_Frozen):
    """The profile of the reference rows: each customer's latest row of the last days of the training rows.

    Attributes:
        days: The days of the rows, sorted.
        rows: The number of rows.
        pairs: The number of pairs of past snapshots from which ``natural`` was measured.
        features: The profile of each compared feature, and of the score (``SCORE``).
        left_out: The features that change with time or the calendar; they are not compared.
    """

    days: tuple[dt.date, ...]
    rows: int = Field(ge=1)
    pairs: int = Field(ge=0)
    features: dict[str, FeatureProfile]
    left_out: tuple[str, ...] = ()


def read_profile(bundle: Bundle) -> ReferenceProfile:
    """Return the reference profile of a bundle.

    Raises:
        BundleError: The bundle has no reference profile, or this version of the code cannot read it.
    """
    try:
        return ReferenceProfile.model_validate_json(bundle.profile)
    except ValidationError as error:
        raise BundleError(
            "The bundle has no reference profile, or the profile cannot be read.",
            where=f"{PROFILE_FILE} of the model of run {bundle.contract.run_id}",
            remedy="Train a model again with churn_train.",
        ) from error
