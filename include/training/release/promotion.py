"""Promotion: compare the challenger with the champion on the same test rows, and set the registry's aliases.

Both models are evaluated on the same bootstrap draws, so that chance in the draws affects both alike, and the decision
is made on the difference of their savings.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from include.errors import ChurnflowError
from include.logs import get_logger
from include.projects import Project
from include.settings import Settings
from include.training.data.dataset import DatasetManifest, load_dataset, recorded_project
from include.training.data.rows import Rows, held_out, load_rows, model_contract
from include.training.evaluation.baselines import NO_OFFERS, baseline_offers
from include.training.evaluation.bootstrap import CustomerBootstrap, lower_bound
from include.training.evaluation.decisions import savings
from include.training.evaluation.evaluate import require_both_labels
from include.training.evaluation.leakage import LEAKAGE_FILE, require_no_leakage
from include.training.model.bundle import Bundle, BundleError
from include.training.model.contract import EncodingError
from include.training.release.registry import Registry

log = get_logger(__name__)


class PromotionError(ChurnflowError):
    """A challenger and a champion cannot be compared."""


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
class Gain:
    """The difference between the savings of the challenger and of another model or baseline, on the same draws.

    Attributes:
        over: The champion's version, or the baseline's name.
        usd_per_1000: The difference on the test rows, in US dollars per 1,000 customers.
        low: Its lower confidence bound: the share ``confidence`` of the resamples is at or above it.
        high: Its upper confidence bound, of the same confidence.
        confidence: The confidence of each bound.
    """

    over: str
    usd_per_1000: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Decision:
    """Whether to promote, the reason as text, and the gain that decided."""

    promote: bool
    reason: str
    gain: Gain


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
    """Scores, and the US dollars that each of the n test rows saves, shape (n,)."""

    scores: Scores
    savings: NDArray[np.float64]


def promote(settings: Settings, dataset_folder: Path, version: str) -> PromotionResult:
    """Make a version the champion if ``decide_promotion`` decides so.

    The alias ``previous`` then names the former champion. A second call for a promoted version changes nothing.

    A champion is not compared if it cannot score this data: it uses a removed feature, its bundle is damaged or has an
    older format, or its test was drawn with other parameters. The challenger is then compared with the best baseline
    alone, like a first model, and the reason mentions this.

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

    challenger = _evaluate(project, registry.bundle(version), version, manifest, test)
    baseline = _best_baseline(project, train, test)
    champion, not_compared = None, ""
    if champion_version is not None:
        try:
            champion = _evaluate(project, registry.bundle(champion_version), champion_version, manifest, test)
        except (IncomparableError, BundleError, EncodingError) as error:
            not_compared = f"The champion, version {champion_version}, cannot score this data. {error.what} "
            log.warning("champion not compared", extra={"version": champion_version, "reason": error.what})
    over_baseline, *over_champion = _gains(project, test, challenger, [baseline, *([champion] if champion else [])])
    decision = decide_promotion(
        version,
        over_baseline,
        over_champion[0] if over_champion else None,
        project.training.promotion.margin_usd_per_1000,
    )
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


def decide_promotion(version: str, over_baseline: Gain, over_champion: Gain | None, margin: float) -> Decision:
    """Decide whether the challenger becomes the champion.

    A first model must save more than the best baseline, with its lower confidence bound above zero. A later model must
    save at least as much as that baseline, and its lower bound over the champion must exceed ``margin``, so that models
    of equal quality are rarely exchanged by chance.

    Args:
        version: The challenger.
        over_baseline: Its gain over the best baseline.
        over_champion: Its gain over the current champion; None if there is none.
        margin: US dollars per 1,000 customers.

    Raises:
        PromotionError: Challenger and champion are the same version.

    Example:
        >>> over_baseline = Gain("offer by recency", 400, low=300, high=500, confidence=0.95)
        >>> over_champion = Gain("1", 50, low=-30, high=130, confidence=0.95)
        >>> decide_promotion("2", over_baseline, over_champion, margin=0).reason
        'Saves $50 more per 1,000 customers than the champion (95% bound -$30): not above the margin of $0.'
    """
    if over_champion is not None and over_champion.over == version:
        raise PromotionError(
            f"Version {version} would be compared with itself.",
            where="promotion",
            remedy="Name a version that is not the champion.",
        )
    if over_champion is None:
        return _compare_with_margin(over_baseline, f"the baseline '{over_baseline.over}'", 0.0)
    if not over_baseline.usd_per_1000 >= 0:
        return Decision(False, f"{_gain_text(over_baseline, f'the baseline {over_baseline.over!r}')}.", over_baseline)
    return _compare_with_margin(over_champion, "the champion", margin)


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
            f"It uses {len(missing)} features that the data set lacks, such as {missing[0]!r}.",
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
    return _evaluate_offers(project, test, version, auc, contract.predicts_churn(probabilities))


def _best_baseline(project: Project, train: Rows, test: Rows) -> _Evaluated:
    evaluated = [
        _evaluate_offers(project, test, chosen.name, chosen.auc, chosen.offered)
        for chosen in baseline_offers(project, train, test)
    ]
    no_offers = _evaluate_offers(project, test, NO_OFFERS, 0.5, np.zeros(len(test), dtype=bool))
    return max((no_offers, *evaluated), key=lambda one: one.scores.saving_usd_per_1000)


def _evaluate_offers(project: Project, test: Rows, name: str, auc: float, offered: NDArray[np.bool_]) -> _Evaluated:
    saved = savings(test.churned, offered, project.requirements.costs)
    return _Evaluated(Scores(name, auc, float(saved.mean() * 1000)), saved)


def _gains(project: Project, test: Rows, challenger: _Evaluated, others: Iterable[_Evaluated]) -> list[Gain]:
    training = project.training
    confidence = training.promotion.confidence
    bootstrap = CustomerBootstrap(test.customers, training.resamples, training.seed)
    gains = []
    for other in others:
        difference = (challenger.savings - other.savings) * 1000
        resampled = bootstrap.means(difference)
        low, high = lower_bound(resampled, confidence), -lower_bound(-resampled, confidence)
        gains.append(Gain(other.scores.name, float(difference.mean()), low, high, confidence))
    return gains


def _compare_with_margin(gain: Gain, over: str, margin: float) -> Decision:
    promote = gain.low > margin
    end = "above" if promote else "not above"
    return Decision(promote, f"{_gain_text(gain, over)}: {end} the margin of ${margin:,.0f}.", gain)


def _gain_text(gain: Gain, over: str) -> str:
    amount = f"${abs(gain.usd_per_1000):,.0f} {'less' if gain.usd_per_1000 < 0 else 'more'}"
    return f"Saves {amount} per 1,000 customers than {over} ({gain.confidence:.0%} bound {_usd(gain.low)})"


def _usd(amount: float) -> str:
    return f"{'-' if amount < 0 else ''}${abs(amount):,.0f}"
