"""Promotion: compare the challenger with the champion on the same test rows, and set the registry's aliases.

Both models are evaluated on the same bootstrap draws, so that chance in the draws affects both alike, and the decision
is made on the difference of their savings.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from include.errors import ChurnflowError
from include.logs import get_logger
from include.plurals import counted
from include.projects import Project
from include.settings import Settings
from include.training.data.dataset import DatasetManifest, load_dataset, recorded_project
from include.training.data.rows import Rows, held_out, load_rows, model_contract
from include.training.evaluation.baselines import NO_OFFERS, BaselineOffers, baseline_offers
from include.training.evaluation.bootstrap import CustomerBootstrap, lower_bound
from include.training.evaluation.decisions import savings
from include.training.evaluation.evaluate import require_both_labels
from include.training.evaluation.leakage import LEAKAGE_FILE, require_no_leakage
from include.training.evaluation.metrics import WeightedRanking
from include.training.model.bundle import Bundle, BundleError
from include.training.model.contract import EncodingError
from include.training.release.conditions import (
    Decision,
    Gain,
    PromotionError,
    RankingGain,
    decide_first_promotion,
    decide_promotion,
)
from include.training.release.registry import Registry

log = get_logger(__name__)

NO_RANKING = "The model predicts the base rate for every customer: it has no skill, and does not rank the customers."


class IncomparableError(ChurnflowError):
    """A model cannot score the test rows of a data set, or may have been trained on them."""


@dataclass(frozen=True)
class Scores:
    """The scores of a model or a baseline on the test rows.

    Attributes:
        name: The model's version, or the baseline's name.
        auc: The AUC of its ranking.
        saving_usd_per_1000: US dollars saved per 1,000 customers, relative to no offers.
    """

    name: str
    auc: float
    saving_usd_per_1000: float


@dataclass(frozen=True)
class PromotionResult:
    """The result of a promotion.

    Attributes:
        promoted: Whether the challenger is now the champion.
        reason: The reason as text.
        champion_version: The champion after the decision; None if there is none.
        challenger: The challenger's scores; None if it already was the champion.
        champion: The former champion's scores; None if there was none, or it was not compared.
        baseline: The best baseline's scores; None if nothing was compared.
        gain: The difference that decided, with its confidence bounds; None if nothing was compared.
    """

    promoted: bool
    reason: str
    champion_version: str | None
    challenger: Scores | None = None
    champion: Scores | None = None
    baseline: Scores | None = None
    gain: Gain | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types, for XCom."""
        return asdict(self)


@dataclass(frozen=True)
class _Evaluated:
    """Scores, the US dollars that each of the n test rows saves, and the ranking of the rows; both of shape (n,).

    The ranking is None for a rule that does not rank.
    """

    scores: Scores
    savings: NDArray[np.float64]
    ranks: NDArray[np.float64] | None


def promote(settings: Settings, dataset_folder: Path, version: str) -> PromotionResult:
    """Make a version the champion if ``decide_promotion`` decides so.

    The alias ``previous`` then names the former champion. A second call for a promoted version changes nothing.

    A champion is not compared if it cannot score this data: it uses a removed feature, its bundle is damaged or has an
    older format, or its test was drawn with other parameters. The challenger then has to meet the conditions of a first
    champion (``decide_first_promotion``), and the reason states this.

    A model that predicts the base rate for every customer is never promoted.

    Args:
        settings: The project and the registry.
        dataset_folder: The data set with the test rows for both models. Its configuration contains costs and margin.
        version: The challenger's version.

    Raises:
        LeakageError: The challenger has leakage findings, or was not checked.
        PromotionError: A model was trained on labels of the test days.
        RegistryError: A version or its bundle cannot be fetched.
        BundleError: The challenger's bundle is damaged.
        DatasetError: The data set is damaged.
        ProjectMismatchError: The data set belongs to another project.
    """
    registry = Registry(settings)
    champion_version = registry.version_of("champion")
    if champion_version == version:
        return PromotionResult(True, f"Version {version} already is the champion.", version)
    require_no_leakage(registry.document(version, LEAKAGE_FILE), f"{registry.name} version {version}")
    dataset = load_dataset(dataset_folder)
    project, manifest = recorded_project(dataset, settings), dataset.manifest
    contract = model_contract(project, manifest)
    train, test = (load_rows(dataset, part, contract) for part in (manifest.train, manifest.test))
    require_both_labels(test)

    bundle = registry.bundle(version)
    if not bundle.calibrator.ranks:
        log.warning("promotion refused", extra={"version": version, "reason": NO_RANKING})
        return PromotionResult(False, NO_RANKING, champion_version)
    challenger = _evaluate(project, bundle, version, manifest, test)
    rules = _rules(project, train, test)
    baseline = max(rules, key=lambda rule: rule.scores.saving_usd_per_1000)
    champion, not_compared = None, ""
    if champion_version is not None:
        try:
            champion = _evaluate(project, registry.bundle(champion_version), champion_version, manifest, test)
        except (IncomparableError, BundleError, EncodingError) as error:
            not_compared = f"The champion, version {champion_version}, cannot score this data. {error.what} "
            log.warning("champion not compared", extra={"version": champion_version, "reason": error.what})
    if champion is None:
        decision = _first_decision(project, test, challenger, rules)
    else:
        promotion = project.training.promotion
        over_baseline, over_champion = _gains(project, test, challenger, [baseline, champion], promotion.confidence)
        decision = decide_promotion(version, over_baseline, over_champion, promotion.margin_usd_per_1000)
    reason = f"{not_compared}{decision.reason}"
    if decision.promote:
        if champion_version is not None:
            registry.set_alias("previous", champion_version)
        registry.set_alias("champion", version)
    log.info(
        "promotion decided",
        extra={
            "version": version,
            "promoted": decision.promote,
            "reason": reason,
            "gain": asdict(decision.gain),
        },
    )
    return PromotionResult(
        promoted=decision.promote,
        reason=reason,
        champion_version=version if decision.promote else champion_version,
        challenger=challenger.scores,
        champion=champion.scores if champion else None,
        baseline=baseline.scores,
        gain=decision.gain,
    )


def evaluate_first_model(
    project: Project, manifest: DatasetManifest, train: Rows, test: Rows, bundle: Bundle, version: str
) -> Decision:
    """Decide whether a model may become the first champion; see ``decide_first_promotion``.

    Args:
        project: The costs, the recency feature, the margin, and the seed and number of the resamples.
        manifest: The data set's manifest.
        train: The training rows, on which the limit of the recency rule is chosen.
        test: The test rows.
        bundle: The model; it ranks the customers.
        version: Its version, for messages.

    Raises:
        PromotionError: The model was trained on labels of the test days.
        IncomparableError: The model cannot score the test rows.
    """
    challenger = _evaluate(project, bundle, version, manifest, test)
    return _first_decision(project, test, challenger, _rules(project, train, test))


def _evaluate(project: Project, bundle: Bundle, version: str, manifest: DatasetManifest, test: Rows) -> _Evaluated:
    contract = bundle.contract
    first = manifest.test.days[0]
    if manifest.split == "time" and contract.trained_through + dt.timedelta(days=contract.horizon_days) >= first:
        raise PromotionError(
            f"Version {version} was trained on labels that overlap the test, which starts on {first}.",
            where=f"{manifest.project} model version {version}",
            remedy="Train the challenger for a later day, so that the test is after the training days of both models.",
        )
    missing = sorted(set(contract.feature_names) - set(test.features.column_names))
    if missing:
        raise IncomparableError(
            f"It uses {counted(len(missing), 'feature')} that the data set lacks, such as {missing[0]!r}.",
            where=f"{manifest.project} model version {version}",
            remedy="Train a model on this data set.",
        )
    if contract.held_out != held_out(project):
        raise IncomparableError(
            "Its test was drawn with another seed or test_share, so it may have been trained on these customers.",
            where=f"{manifest.project} model version {version}",
            remedy="Train a model on this data set.",
        )
    probabilities = bundle.predict(test.features.select(contract.feature_names)).astype(np.float64)
    auc = float(roc_auc_score(test.churned, probabilities))
    return _evaluate_offers(project, test, version, auc, contract.predicts_churn(probabilities), probabilities)


def _rules(project: Project, train: Rows, test: Rows) -> list[_Evaluated]:
    """Return the rules without a model, including no offers."""
    no_offers = BaselineOffers(NO_OFFERS, 0.5, np.zeros(len(test), dtype=bool))
    return [
        _evaluate_offers(project, test, rule.name, rule.auc, rule.offered, rule.ranks)
        for rule in (no_offers, *baseline_offers(project, train, test))
    ]


def _evaluate_offers(
    project: Project,
    test: Rows,
    name: str,
    auc: float,
    offered: NDArray[np.bool_],
    ranks: NDArray[np.float64] | None,
) -> _Evaluated:
    saved = savings(test.churned, offered, project.requirements.costs)
    return _Evaluated(Scores(name, auc, float(saved.mean() * 1000)), saved, ranks)


def _first_decision(project: Project, test: Rows, challenger: _Evaluated, rules: Sequence[_Evaluated]) -> Decision:
    promotion = project.training.promotion
    confidence = promotion.first_confidence
    return decide_first_promotion(
        _ranking_gain(project, test, challenger, max(rules, key=lambda rule: rule.scores.auc), confidence),
        _gains(project, test, challenger, rules, confidence),
        promotion.first_margin_usd_per_1000,
    )


def _ranking_gain(
    project: Project, test: Rows, challenger: _Evaluated, rule: _Evaluated, confidence: float
) -> RankingGain:
    def resampled(ranks: NDArray[np.float64] | None) -> NDArray[np.float64]:
        if ranks is None:
            return np.full(project.training.resamples, 0.5)
        ranking = WeightedRanking(test.churned, ranks)
        return np.array([ranking.auc_and_average_precision(weights)[0] for weights in bootstrap.weights()])

    bootstrap = CustomerBootstrap(test.customers, project.training.resamples, project.training.seed)
    difference = resampled(challenger.ranks) - resampled(rule.ranks)
    low = lower_bound(difference, confidence)
    return RankingGain(rule.scores.name, challenger.scores.auc, rule.scores.auc, low, confidence)


def _gains(
    project: Project, test: Rows, challenger: _Evaluated, others: Iterable[_Evaluated], confidence: float
) -> list[Gain]:
    training = project.training
    bootstrap = CustomerBootstrap(test.customers, training.resamples, training.seed)
    gains = []
    for other in others:
        difference = (challenger.savings - other.savings) * 1000
        resampled = bootstrap.means(difference)
        low, high = lower_bound(resampled, confidence), -lower_bound(-resampled, confidence)
        gains.append(Gain(other.scores.name, float(difference.mean()), low, high, confidence))
    return gains
