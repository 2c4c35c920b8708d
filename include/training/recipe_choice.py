"""Choose between the tuned recipe and the champion's recipe, and decide whether the model may become the champion.

A model that is fitted on all matured snapshots has no rows left to be tested on. Recipes are therefore compared: models
of both recipes are fitted on the same rows, and are evaluated on rows that neither was fitted on.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from include.logs import get_logger
from include.plurals import counted
from include.training.data.rows import Rows
from include.training.evaluation.comparison import (
    Contender,
    Scores,
    best_rule,
    first_decision,
    gain,
    model_contender,
    ranking_gain,
    rule_contenders,
)
from include.training.evaluation.conditions import Decision, Gain, decide_new_recipe, decide_refresh
from include.training.fitting.fitted_model import FittedModel
from include.training.fitting.recipe_fitter import RecipeFitter
from include.training.model.bundle import margins
from include.training.recipe import ChampionRecipe, Recipe

log = get_logger(__name__)

Kind = Literal["first", "new_recipe", "refresh"]

NO_RANKING = "The model predicts the base rate for every customer: it has no skill, and does not rank the customers."
_LATEST_SNAPSHOTS = 4
"""The snapshots on which a refit is compared with an older fit."""
_MIN_PRODUCTION_SNAPSHOTS = 4
_MIN_PRODUCTION_CHURNERS = 200


@dataclass(frozen=True)
class Comparison:
    """The comparison of a candidate with the champion or, without a champion, with the rules without a model.

    Attributes:
        kind: ``first``: there is no champion, or it cannot be compared. ``new_recipe``: the candidate has another
            recipe than the champion. ``refresh``: the candidate is a refit of the champion's recipe on newer rows.
        champion_version: The champion when the data set was built; None if there was none.
        promote: Whether the candidate may become the champion.
        reason: The reason as text.
        candidate: The scores of the candidate's recipe on the test.
        champion: The scores of the champion's recipe on the test; None if it was not compared there.
        baseline: The scores of the best rule on the test.
        gain: The difference that decided, with its confidence bounds.
    """

    kind: Kind
    champion_version: str | None
    promote: bool
    reason: str
    candidate: Scores
    champion: Scores | None
    baseline: Scores
    gain: Gain

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class RecipeChoice:
    """The chosen recipe and its evaluation.

    Attributes:
        recipe: The recipe.
        evaluated: A model of this recipe, fitted on the training rows.
        probabilities: The churn probabilities of the evaluated model for the n test rows, shape (n,).
        comparison: The comparison with the champion.
    """

    recipe: Recipe
    evaluated: FittedModel
    probabilities: NDArray[np.float32]
    comparison: Comparison


def choose_recipe(fitter: RecipeFitter, train: Rows, test: Rows, rows: Rows, tuned: Recipe) -> RecipeChoice:
    """Choose between the tuned recipe and the champion's, and compare the candidate with the champion.

    1. Without a champion, the tuned recipe is compared with the rules without a model.
    2. The tuned recipe is compared with the champion, on production days if there are enough of them, else with the
       champion's recipe on the test. It is chosen if it saves more by a margin.
    3. Otherwise, the champion's recipe is chosen, and a newer fit of it is compared with an older fit.

    Args:
        fitter: Fits models by their recipes.
        train: The training rows.
        test: The test rows.
        rows: The rows of all parts of the data set.
        tuned: The recipe with the hyperparameters of the search.

    Raises:
        DeviceError: XGBoost trained on another device than the configured one.
    """
    project, champion = fitter.project, fitter.dataset.manifest.champion
    rules = rule_contenders(project, train, test)
    evaluated = _evaluate(fitter, train, test, tuned, "the new recipe")
    unusable = _not_comparable(fitter, champion)
    if champion is None or unusable:
        decision = first_decision(project, test, evaluated.contender, rules)
        decision = replace(decision, reason=f"{unusable}{decision.reason}")
        return evaluated.choice(_comparison("first", champion, decision, evaluated.contender, None, rules))
    kept = ""
    if tuned != champion.recipe:
        own = _evaluate(fitter, train, test, champion.recipe, "the champion's recipe")
        decision = _new_recipe(fitter, test, rows, tuned, champion, evaluated.contender, own.contender, rules)
        if decision.promote:
            return evaluated.choice(
                _comparison("new_recipe", champion, decision, evaluated.contender, own.contender, rules)
            )
        kept = f"A new recipe was tried, and the champion's is kept. {decision.reason} "
        log.info("the champion's recipe is kept", extra={"reason": decision.reason})
        evaluated = own
    decision = _refresh(fitter, test, rows, champion, evaluated.contender, rules)
    decision = replace(decision, reason=f"{kept}{decision.reason}")
    return evaluated.choice(_comparison("refresh", champion, decision, evaluated.contender, evaluated.contender, rules))


@dataclass(frozen=True)
class _Evaluated:
    """A recipe, a model of it that is fitted on the training rows, and the model's probabilities for the test rows."""

    recipe: Recipe
    model: FittedModel
    probabilities: NDArray[np.float32]
    contender: Contender

    def choice(self, comparison: Comparison) -> RecipeChoice:
        return RecipeChoice(self.recipe, self.model, self.probabilities, comparison)


def _evaluate(fitter: RecipeFitter, train: Rows, test: Rows, recipe: Recipe, name: str) -> _Evaluated:
    model = fitter.fit(train, recipe)
    probabilities = fitter.probabilities(model, recipe, test)
    return _Evaluated(recipe, model, probabilities, model_contender(fitter.project, test, name, probabilities))


def _not_comparable(fitter: RecipeFitter, champion: ChampionRecipe | None) -> str:
    """Return why the champion's recipe cannot be fitted on the data set; empty if it can."""
    missing = sorted(set(champion.recipe.features) - set(fitter.contract.feature_names)) if champion else []
    if champion is None or not missing:
        return ""
    reason = (
        f"The champion, version {champion.version}, cannot be compared: it uses {counted(len(missing), 'feature')} "
        f"that the data set lacks, such as {missing[0]!r}. "
    )
    log.warning("champion not compared", extra={"version": champion.version, "reason": reason})
    return reason


def _new_recipe(
    fitter: RecipeFitter,
    test: Rows,
    rows: Rows,
    tuned: Recipe,
    champion: ChampionRecipe,
    candidate: Contender,
    reference: Contender,
    rules: list[Contender],
) -> Decision:
    project, promotion = fitter.project, fitter.project.training.promotion
    over_baseline = gain(project, test, candidate, best_rule(rules), promotion.confidence)
    production = _production_rows(fitter, rows)
    if production is None:
        over_champion = gain(project, test, candidate, reference, promotion.confidence)
    else:
        scored, scores = production
        model = fitter.fit(rows.where(rows.days <= np.datetime64(champion.trained_through)), tuned)
        name = f"the champion on {counted(len(scored.snapshot_days), 'production day')}"
        over_champion = gain(
            project,
            scored,
            model_contender(project, scored, "the new recipe", fitter.probabilities(model, tuned, scored)),
            model_contender(project, scored, name, scores),
            promotion.confidence,
        )
    return decide_new_recipe(over_baseline, over_champion, promotion.margin_usd_per_1000)


def _production_rows(fitter: RecipeFitter, rows: Rows) -> tuple[Rows, NDArray[np.float64]] | None:
    """Return the matured rows that the champion scored after its training, and its probabilities for them.

    Returns:
        The n rows and the probabilities, shape (n,); None if there are too few days or churners for a comparison.
    """
    manifest = fitter.dataset.manifest
    if manifest.champion_scores is None:
        return None
    scores = pq.read_table(fitter.dataset.folder / manifest.champion_scores.file).to_pandas()
    keys = pd.DataFrame({"dt": rows.days, "customer_id": rows.customers.to_pandas()})
    joined = keys.merge(scores.astype({"dt": keys["dt"].dtype}), "left", ["dt", "customer_id"], validate="1:1")
    found = joined["churn_probability"].to_numpy(dtype=np.float64)
    scored = ~np.isnan(found)
    production = rows.where(scored)
    churners = len(np.unique(np.asarray(production.customers)[production.churned == 1]))
    if len(production.snapshot_days) < _MIN_PRODUCTION_SNAPSHOTS or churners < _MIN_PRODUCTION_CHURNERS:
        return None
    return production, found[scored]


def _refresh(
    fitter: RecipeFitter,
    test: Rows,
    rows: Rows,
    champion: ChampionRecipe,
    candidate: Contender,
    rules: list[Contender],
) -> Decision:
    """Decide whether a refit of the champion's recipe replaces the champion.

    A newer and an older fit of the recipe are compared on the latest snapshots. The newer fit has all rows whose labels
    were known before these snapshots. The older fit lacks as many of the newest days as the champion lacks of the
    candidate's days. Each fit has its own half-life.
    """
    project, promotion, manifest = fitter.project, fitter.project.training.promotion, fitter.dataset.manifest
    over_baseline = gain(project, test, candidate, best_rule(rules), promotion.confidence)
    newest = manifest.days[-1]
    if newest <= champion.trained_through:
        return Decision(False, f"The champion was already fitted on the snapshots through {newest}.", over_baseline)
    latest = rows.snapshot_days[-_LATEST_SNAPSHOTS:]
    valid = rows.where(rows.on_days(latest))
    newer = rows.days < np.datetime64(latest[0] - dt.timedelta(days=manifest.horizon_days))
    missing = np.timedelta64(newest - champion.trained_through)
    older = newer & (rows.days <= rows.days[newer].max(initial=rows.days.min()) - missing)
    if not fitter.project.has_time or not _has_both_labels(rows, older) or not _has_both_labels(valid):
        return decide_refresh(over_baseline, None, promotion.refresh_margin_auc)
    matrix = valid.with_features(champion.recipe.features).matrix

    def contender(name: str, part: Rows) -> Contender:
        half_life_days = fitter.history(part, champion.recipe).half_life_days
        fitted = fitter.fit_booster(part, champion.recipe, half_life_days)
        return model_contender(project, valid, name, margins(fitted.booster, matrix))

    after, before = contender("a newer fit", rows.where(newer)), contender("an older fit", rows.where(older))
    over_older = ranking_gain(project, valid, after, before, promotion.confidence)
    return decide_refresh(over_baseline, over_older, promotion.refresh_margin_auc)


def _has_both_labels(rows: Rows, mask: NDArray[np.bool_] | None = None) -> bool:
    return len(np.unique(rows.churned if mask is None else rows.churned[mask])) == 2


def _comparison(
    kind: Kind,
    champion: ChampionRecipe | None,
    decision: Decision,
    candidate: Contender,
    reference: Contender | None,
    rules: list[Contender],
) -> Comparison:
    return Comparison(
        kind=kind,
        champion_version=champion.version if champion else None,
        promote=decision.promote,
        reason=decision.reason,
        candidate=candidate.scores,
        champion=reference.scores if reference else None,
        baseline=best_rule(rules).scores,
        gain=decision.gain,
    )
