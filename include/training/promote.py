"""Judge the challenger and the champion anew on the same test rows, and move the aliases when the decision says so."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from include.logs import get_logger
from include.projects import Project
from include.settings import Settings
from include.training.bundle import Bundle
from include.training.dataset import DatasetManifest, load_dataset
from include.training.evaluation import Evaluation, evaluate
from include.training.promotion import PromotionError, Scores, decide_promotion
from include.training.registry import Registry
from include.training.rows import Rows, load_rows, model_contract

log = get_logger(__name__)


@dataclass(frozen=True)
class PromotionResult:
    """What came of a promotion.

    Attributes:
        promoted: Whether the challenger is the champion now.
        reason: Why, for people.
        champion_version: The champion after the decision; ``None`` when there is none.
        challenger: The challenger's scores; ``None`` when it was the champion already.
        champion: The former champion's scores; ``None`` when there was none.
        rule: The best simple rule's scores; ``None`` when nothing was compared.
    """

    promoted: bool
    reason: str
    champion_version: str | None
    challenger: Scores | None = None
    champion: Scores | None = None
    rule: Scores | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types, fit for XCom."""
        return asdict(self)


def promote(project: Project, settings: Settings, dataset_folder: Path, version: str) -> PromotionResult:
    """Make ``version`` the champion if ``decide_promotion`` says so.

    The alias ``previous`` then names the former champion. Calling this again for a version that was promoted changes
    nothing.

    Args:
        project: Gives costs and margin.
        settings: Name the registry.
        dataset_folder: The data set whose test rows judge both models.
        version: The challenger's version.

    Raises:
        PromotionError: The champion has learned from days that the test asks about, or reads features that the data
            set lacks.
        RegistryError: A version or its bundle cannot be fetched.
        DatasetError: The data set is damaged.
    """
    registry = Registry(settings)
    champion_version = registry.version_of("champion")
    if champion_version == version:
        return PromotionResult(True, f"Version {version} is the champion already.", version)
    dataset = load_dataset(dataset_folder)
    manifest = dataset.manifest
    contract = model_contract(project, manifest)
    train, test = (load_rows(dataset, part, contract) for part in (manifest.train, manifest.test))

    judged = _judge(project, registry.bundle(version), version, manifest, train, test)
    challenger, rule = _scores(version, judged), _rule_scores(judged)
    champion = None
    if champion_version is not None:
        bundle = registry.bundle(champion_version)
        champion = _scores(champion_version, _judge(project, bundle, champion_version, manifest, train, test))
    decision = decide_promotion(challenger, champion, rule, project.training.promotion.margin_usd_per_1000)
    if decision.promote:
        if champion_version is not None:
            registry.set_alias("previous", champion_version)
        registry.set_alias("champion", version)
    log.info("promotion decided", extra={"version": version, "promoted": decision.promote, "reason": decision.reason})
    return PromotionResult(
        promoted=decision.promote,
        reason=decision.reason,
        champion_version=version if decision.promote else champion_version,
        challenger=challenger,
        champion=champion,
        rule=rule,
    )


def _judge(
    project: Project, bundle: Bundle, version: str, manifest: DatasetManifest, train: Rows, test: Rows
) -> Evaluation:
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
        raise PromotionError(
            f"Version {version} reads {len(missing)} features that the data set lacks, such as {missing[0]!r}.",
            where=f"{manifest.project} model version {version}",
            remedy="Keep the champion's features in features.yaml until a model without them is the champion.",
        )
    probabilities = bundle.predict(test.features.select(contract.feature_names))
    return evaluate(project, train, test, probabilities, contract.threshold)


def _scores(version: str, judged: Evaluation) -> Scores:
    return Scores(version, judged.auc, judged.at_threshold.saving_usd_per_1000)


def _rule_scores(judged: Evaluation) -> Scores:
    rule = judged.best_rule
    return Scores(rule.name, rule.auc, rule.decisions.saving_usd_per_1000)
