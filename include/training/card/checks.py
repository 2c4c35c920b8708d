"""The model card's sections with checks: the comparison with the champion, the requirements, the leakage checks."""

from __future__ import annotations

from collections.abc import Sequence

from include.reporting import Section, Table
from include.training.evaluation.leakage import LeakageReport
from include.training.evaluation.requirements import Verdict
from include.training.model.explain import number_text
from include.training.recipe_choice import Comparison

_KINDS = {
    "first": "There is no champion to compare with; a first model must be better than every rule without a model.",
    "new_recipe": "The recipe is new. It is compared with the recipe of the champion, version {champion}.",
    "refresh": "The model is a refit of the champion's recipe (version {champion}) on newer snapshots.",
}
_IF_MISSED = {"enabled": "stops the training", "dry_run": "is reported", "disabled": "is not checked"}
_SPLITS = {
    "unseen_customers": "unseen customers",
    "earlier_training": "training that ends one horizon earlier",
}
_FEATURES_ALONE = 5


def comparison(made: Comparison) -> Section:
    """Return the comparison with the champion, or with the rules without a model."""
    contenders = [("this recipe", made.candidate), ("the best rule without a model", made.baseline)]
    if made.champion:
        contenders.insert(1, ("the champion's recipe", made.champion))
    return Section(
        "Comparison",
        badge="may become the champion" if made.promote else "is not promoted",
        good=made.promote,
        paragraphs=[_KINDS[made.kind].format(champion=made.champion_version), made.reason],
        tables=[
            Table(
                ("on the test", "name", "AUC", "saved, $ per 1,000"),
                [
                    (title, scores.name, f"{scores.auc:.3f}", f"{scores.saving_usd_per_1000:,.0f}")
                    for title, scores in contenders
                ],
                texts=2,
            )
        ],
    )


def requirements(verdicts: Sequence[Verdict]) -> Section:
    """Return the project's requirements and the values found."""
    missed = sum(not verdict.ok for verdict in verdicts)
    return Section(
        "Requirements",
        badge=f"{missed} of {len(verdicts)} missed" if missed else "met" if verdicts else "",
        good=not missed,
        paragraphs=() if verdicts else ["None were checked."],
        tables=[
            Table(
                ("requirement", "verdict", "if missed", "found", "required"),
                [
                    (
                        verdict.name.replace("_", " "),
                        "met" if verdict.ok else "missed",
                        _IF_MISSED[verdict.mode],
                        number_text(verdict.found),
                        f"{'at least' if verdict.bound == 'min' else 'at most'} {number_text(verdict.required)}",
                    )
                    for verdict in verdicts
                ],
                texts=3,
            )
        ]
        if verdicts
        else (),
    )


def leakage(report: LeakageReport) -> Section:
    """Return the result of the leakage checks."""
    split_table = Table(
        ("stricter split", "AUC", "AUC when stricter", "drop, at least"),
        [
            (_SPLITS[split.name], f"{split.auc:.3f}", f"{split.stricter_auc:.3f}", f"{split.drop_low:.3f}")
            for split in report.splits
        ],
        title=f"Stricter splits; limit of the drop {report.limits.max_auc_drop:g} (95 % bound)",
    )
    return Section(
        "Leakage",
        badge="suspected" if report.findings else "none found",
        good=not report.findings,
        paragraphs=[
            "A feature that leaks the label has a high AUC alone; a model that identifies customers or days has a "
            "lower AUC on other customers or days. A model with a finding is not promoted.",
            *(f"Not checked: {reason}." for reason in report.skipped),
        ],
        items=report.findings,
        tables=[
            *([split_table] if report.splits else []),
            Table(
                ("feature", "AUC"),
                [(found.feature, f"{found.auc:.3f}") for found in report.features[:_FEATURES_ALONE]],
                title=f"Features alone; limit {report.limits.max_single_feature_auc:g}",
            ),
        ],
    )
