"""Judge the challenger and the champion anew on the same test rows, and move the aliases when the decision says so.

Their difference is what counts: both are judged on the same draws of customers, so that a lucky draw is lucky for both.
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
from include.training.data.configuration import recorded_project
from include.training.data.dataset import DatasetManifest, load_dataset
from include.training.data.rows import Rows, held_out, load_rows, model_contract
from include.training.evaluation.baselines import rule_offers
from include.training.evaluation.bootstrap import CustomerBootstrap, lower_bound
from include.training.evaluation.decisions import savings
from include.training.evaluation.evaluation import require_both_labels
from include.training.evaluation.leakage import LEAKAGE_FILE, require_no_leakage
from include.training.model.bundle import Bundle, BundleError
from include.training.model.contract import EncodingError
from include.training.release.promotion import Gain, PromotionError, Scores, decide_promotion
from include.training.release.registry import Registry

log = get_logger(__name__)


class IncomparableError(ChurnflowError):
    """A model cannot be asked about the test rows of a data set, or not fairly."""


@dataclass(frozen=True)
class PromotionResult:
    """What came of a promotion.

    Attributes:
        promoted: Whether the challenger is the champion now.
        reason: Why, for people.
        champion_version: The champion after the decision; ``None`` when there is none.
        challenger: The challenger's scores; ``None`` when it was the champion already.
        champion: The former champion's scores; ``None`` when there was none, or it was not compared.
        rule: The best simple rule's scores; ``None`` when nothing was compared.
        gain: The difference that decided, with its confidence bounds; ``None`` when nothing was compared.
    """

    promoted: bool
    reason: str
    champion_version: str | None
    challenger: Scores | None = None
    champion: Scores | None = None
    rule: Scores | None = None
    gain: Gain | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types, fit for XCom."""
        return asdict(self)


@dataclass(frozen=True)
class _Judged:
    """Scores, and the US dollars that each of the n test rows saves, shape (n,)."""

    scores: Scores
    savings: NDArray[np.float64]


def promote(settings: Settings, dataset_folder: Path, version: str) -> PromotionResult:
    """Make ``version`` the champion if ``decide_promotion`` says so.

    The alias ``previous`` then names the former champion. Calling this again for a version that was promoted changes
    nothing.

    A champion that cannot be asked about this data, since it reads a feature that there is no more, its bundle is
    damaged or of an older format, or its test was drawn otherwise, is not compared: the challenger then competes as the
    first model does, against the best simple rule, and the reason says so.

    Args:
        settings: Name the registry.
        dataset_folder: The data set whose test rows judge both models; its configuration has costs and margin.
        version: The challenger's version.

    Raises:
        LeakageError: A leak is suspected in the challenger, or its run does not say.
        PromotionError: A model has learned from days that the test asks about.
        RegistryError: A version or its bundle cannot be fetched.
        BundleError: The challenger's bundle is damaged.
        DatasetError: The data set is damaged.
        ProjectMismatchError: It is of another project than the settings name.
    """
    registry = Registry(settings)
    champion_version = registry.version_of("champion")
    if champion_version == version:
        return PromotionResult(True, f"Version {version} is the champion already.", version)
    require_no_leakage(registry.document(version, LEAKAGE_FILE), f"{registry.name} version {version}")
    dataset = load_dataset(dataset_folder)
    project, manifest = recorded_project(dataset, settings), dataset.manifest
    contract = model_contract(project, manifest)
    train, test = (load_rows(dataset, part, contract) for part in (manifest.train, manifest.test))
    require_both_labels(test)

    challenger = _judge(project, registry.bundle(version), version, manifest, test)
    rule = _best_rule(project, train, test)
    champion, silent = None, ""
    if champion_version is not None:
        try:
            champion = _judge(project, registry.bundle(champion_version), champion_version, manifest, test)
        except (IncomparableError, BundleError, EncodingError) as error:
            silent = f"The champion, version {champion_version}, cannot be asked about this data. {error.what} "
            log.warning("champion not compared", extra={"version": champion_version, "reason": error.what})
    over_rule, *over_champion = _gains(project, test, challenger, [rule, *([champion] if champion else [])])
    decision = decide_promotion(
        version, over_rule, over_champion[0] if over_champion else None, project.training.promotion.margin_usd_per_1000
    )
    reason = f"{silent}{decision.reason}"
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
        rule=rule.scores,
        gain=decision.gain,
    )


def _judge(project: Project, bundle: Bundle, version: str, manifest: DatasetManifest, test: Rows) -> _Judged:
    contract = bundle.contract
    first = manifest.test.days[0]
    if manifest.split == "time" and contract.trained_through + dt.timedelta(days=contract.horizon_days) >= first:
        raise PromotionError(
            f"Version {version} learned from labels up to the test, which starts on {first}.",
            where=f"{manifest.project} model version {version}",
            remedy="Train the challenger for a later day, so that the test lies after what both have seen.",
        )
    missing = sorted(set(contract.feature_names) - set(test.features.column_names))
    if missing:
        raise IncomparableError(
            f"It reads {len(missing)} features that the data set lacks, such as {missing[0]!r}.",
            where=f"{manifest.project} model version {version}",
            remedy="Train a model on this data set.",
        )
    if contract.held_out != held_out(project):
        raise IncomparableError(
            "Its test was drawn with another seed or test_share, so that it may have learned from this one.",
            where=f"{manifest.project} model version {version}",
            remedy="Train a model on this data set.",
        )
    probabilities = bundle.predict(test.features.select(contract.feature_names)).astype(np.float64)
    auc = float(roc_auc_score(test.churned, probabilities))
    return _judged(project, test, version, auc, contract.predicts_churn(probabilities))


def _best_rule(project: Project, train: Rows, test: Rows) -> _Judged:
    rules = [_judged(project, test, rule.name, rule.auc, rule.offered) for rule in rule_offers(project, train, test)]
    nobody = _judged(project, test, "offer to nobody", 0.5, np.zeros(len(test), dtype=bool))
    return max((nobody, *rules), key=lambda rule: rule.scores.saving_usd_per_1000)


def _judged(project: Project, test: Rows, name: str, auc: float, offered: NDArray[np.bool_]) -> _Judged:
    saved = savings(test.churned, offered, project.requirements.costs)
    return _Judged(Scores(name, auc, float(saved.mean() * 1000)), saved)


def _gains(project: Project, test: Rows, challenger: _Judged, others: Iterable[_Judged]) -> list[Gain]:
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
