"""A shadow against the model that answered: on the same rows, and, where labels are known, against what happened."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import ibis
import pandas as pd

from include.lake import Lake, connect
from include.lake.table_names import PREDICTIONS_TABLE
from include.monitoring.performance import auc_of


@dataclass(frozen=True)
class ShadowComparison:
    """One shadow beside one model, on one day's answers.

    Attributes:
        model_version: The model that answered.
        shadow_version: The shadow.
        rows: Answers that both scored.
        mean_absolute_difference: Of the two probabilities.
        correlation: Of the two; None when one of them is always the same.
        decisions_that_differ: How many decisions differ.
        labelled_rows: Customers whose label is known, of earlier answers that both scored.
        auc: The AUC of the model that answered on them; None when it is not known.
        shadow_auc: The shadow's on the same.
    """

    model_version: str
    shadow_version: str
    rows: int
    mean_absolute_difference: float
    correlation: float | None
    decisions_that_differ: int
    labelled_rows: int = 0
    auc: float | None = None
    shadow_auc: float | None = None


def compare_shadows(
    lake: Lake, day: dt.date, version: str, judged: pd.DataFrame | None
) -> tuple[ShadowComparison, ...]:
    """Return every pair of model and shadow that scored answers of ``day``, the most rows first.

    Args:
        lake: Holds ``gold/predictions``.
        day: A day with answers.
        version: The deployed model's version.
        judged: Earlier answers of that model with their labels, one row per customer, where there are any.
    """
    answers = lake.table(PREDICTIONS_TABLE).scan(connect(), [day]).filter(ibis._.shadow_probability.notnull())
    pairs = (
        answers.mutate(own=answers.churn_probability.cast("float64"), aside=answers.shadow_probability.cast("float64"))
        .group_by(["model_version", "shadow_version"])
        .aggregate(
            rows=ibis._.count(),
            mean_absolute_difference=(ibis._.own - ibis._.aside).abs().mean(),
            correlation=ibis._.own.corr(ibis._.aside, how="pop"),
            decisions_that_differ=(ibis._.prediction != ibis._.shadow_prediction).sum(),
        )
        .order_by(ibis.desc("rows"), "model_version", "shadow_version")
        .to_pandas()
    )
    return tuple(
        ShadowComparison(
            model_version=pair.model_version,
            shadow_version=pair.shadow_version,
            rows=int(pair.rows),
            mean_absolute_difference=float(pair.mean_absolute_difference),
            correlation=None if pd.isna(pair.correlation) else float(pair.correlation),
            decisions_that_differ=int(pair.decisions_that_differ),
            **_outcome(None if pair.model_version != version else judged, pair.shadow_version),
        )
        for pair in pairs.itertuples()
    )


def _outcome(judged: pd.DataFrame | None, shadow_version: str) -> dict[str, Any]:
    if judged is None:
        return {}
    both = judged[(judged["shadow_version"] == shadow_version) & judged["shadow_probability"].notna()]
    churned = both["churned"].to_numpy(dtype=float)
    return {
        "labelled_rows": len(both),
        "auc": auc_of(churned, both["churn_probability"].to_numpy(dtype=float)),
        "shadow_auc": auc_of(churned, both["shadow_probability"].to_numpy(dtype=float)),
    }
