"""The model card's chapters about what a model is held to, what it is not fit for, and how to be rid of it."""

from __future__ import annotations

from collections.abc import Sequence

from include.reporting import Section, Table
from include.training.candidate import Candidate
from include.training.evaluation.leakage import LeakageReport
from include.training.model.explain import told
from include.training.requirements import Verdict

_WHEN_MISSED = {"enabled": "stops the training", "dry_run": "is reported", "disabled": "is not checked"}

_FEATURES_ALONE = 5
_SPLITS = {
    "unseen_customers": "customers whom the model has not seen",
    "earlier_training": "training that ends one horizon earlier",
}
_UNCALIBRATED = (
    "The probabilities are those of the booster, not calibrated: the threshold assumes that they are right on average."
)
_CALIBRATED = (
    "The probabilities are calibrated on training days alone: a season with more or fewer churners moves them all."
)


def requirements(verdicts: Sequence[Verdict]) -> Section:
    """Return what the project requires of its model, and what was found."""
    missed = sum(not verdict.ok for verdict in verdicts)
    return Section(
        "Requirements",
        badge=f"{missed} of {len(verdicts)} missed" if missed else "met" if verdicts else "",
        good=not missed,
        paragraphs=() if verdicts else ["None were checked."],
        tables=[
            Table(
                ("requirement", "verdict", "when missed", "found", "required"),
                [
                    (
                        verdict.name.replace("_", " "),
                        "met" if verdict.ok else "missed",
                        _WHEN_MISSED[verdict.mode],
                        told(verdict.found),
                        f"{'at least' if verdict.bound == 'min' else 'at most'} {told(verdict.required)}",
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
    """Return whether the model is good for a reason that production will not have."""
    return Section(
        "Leakage",
        badge="suspected" if report.findings else "none found",
        good=not report.findings,
        paragraphs=[
            "A feature that knows the answer ranks too well alone, and a model that knows customers or days by heart "
            "does worse on others. A model with a finding is not promoted.",
            *(f"Not checked: {reason}." for reason in report.skipped),
        ],
        items=report.findings,
        tables=[
            *([_split_table(report)] if report.splits else []),
            Table(
                ("feature", "AUC"),
                [(found.feature, f"{found.auc:.3f}") for found in report.features[:_FEATURES_ALONE]],
                title=f"Features alone; up to {report.limits.max_single_feature_auc:g} is believed",
            ),
        ],
    )


def _split_table(report: LeakageReport) -> Table:
    return Table(
        ("asked about", "AUC", "AUC when stricter", "drop, at least"),
        [
            (_SPLITS[split.name], f"{split.auc:.3f}", f"{split.stricter_auc:.3f}", f"{split.drop_low:.3f}")
            for split in report.splits
        ],
        title=f"Stricter splits; a drop of {report.limits.max_auc_drop:g} is allowed (95 % bound)",
    )


def limits(candidate: Candidate) -> Section:
    """Return what nobody should expect of the model."""
    items = [
        _UNCALIBRATED if candidate.calibrator.method == "none" else _CALIBRATED,
        "It knows the customers of its training days; a season, a price change or a new product line that those did "
        "not see is unknown to it.",
        "It says who is likely to leave, not whom an offer would keep.",
    ]
    if candidate.dataset.manifest.split == "time":
        items.append("One test period judges it: what is special about that period is in no interval.")
    else:
        items.append(
            "Nobody knows how it does later: a column that was filled in after the customer had left would make it "
            "look good here and be useless there."
        )
    if candidate.project.requirements.notes:
        items.append(candidate.project.requirements.notes)
    return Section("Limits", items=items)


def rollback() -> Section:
    """Return how the model before this one comes back."""
    return Section(
        "Rolling back",
        paragraphs=[
            "Run the DAG churn_rollback: the version with the alias previous becomes champion, and the endpoint serves "
            "it again."
        ],
    )
