"""The model card's chapters about where a model comes from: its question, its data, its training."""

from __future__ import annotations

from include.reporting import Section, Table
from include.training.candidate import Candidate
from include.training.model.contract import ModelContract


def question(candidate: Candidate, contract: ModelContract, version: str) -> Section:
    """Return what the model predicts, and how its answer becomes a decision."""
    project = candidate.project
    costs = project.requirements.costs
    return Section(
        "What it predicts",
        paragraphs=[
            f"{_sentence(project.label.description)} The answer is the probability of that.",
            f"From a probability of {contract.threshold:.3g} upwards the answer is churn, and the customer gets an "
            f"offer. From there on it is expected to save more than it wastes: a missed churner costs "
            f"${costs.missed_churner_usd:g}, a needless offer ${costs.needless_offer_usd:g}.",
        ],
        tables=[
            Table(
                ("fact", "value"),
                [
                    ("registered as", f"churn-{contract.project}, version {version}"),
                    ("MLflow run", contract.run_id),
                    ("owner", project.owner),
                    ("learned from snapshots through", str(contract.trained_through)),
                    ("looks ahead", f"{contract.horizon_days} days" if contract.horizon_days else "not at all"),
                ],
                texts=2,
            )
        ],
    )


def data(candidate: Candidate) -> Section:
    """Return what the model learned from, where that lies, and how the test was split off."""
    manifest = candidate.dataset.manifest
    if manifest.split == "time":
        split = (
            f"The split is by time, with a gap of one horizon ({manifest.horizon_days} days): every training label was "
            "known before the first test day."
        )
    else:
        split = (
            "There is no time in this data: the test is other customers of the same delivery, drawn by a hash of their "
            "id with the same share of churners. The score assumes that tomorrow's customers are like today's."
        )
    parts = [
        (
            title,
            str(part.days[0]),
            str(part.days[-1]),
            f"{len(part.days)}",
            f"{part.rows:,}",
            f"{part.positive_ratio:.1%}",
        )
        for title, part in (("training", manifest.train), ("test", manifest.test))
    ]
    versions = [(f"table {table}", f"Delta version {version}") for table, version in manifest.all_tables.items()]
    if manifest.data_version:
        raw = manifest.data_version
        versions.append(("raw data", f"DVC revision {raw.revision}, kept at {raw.remote}"))
    versions.append(("rows of both parts", f"fingerprint {manifest.fingerprint}"))
    versions.append(("configuration", f"checksum {manifest.configuration_sha256}"))
    return Section(
        "Data",
        paragraphs=[split],
        tables=[
            Table(("part", "first snapshot", "last snapshot", "snapshots", "rows", "churned"), parts, texts=3),
            Table(("what", "version"), versions, texts=2),
        ],
    )


def training(candidate: Candidate, contract: ModelContract) -> Section:
    """Return how the hyperparameters were found and what they are."""
    tuned, manifest = candidate.tuned, candidate.dataset.manifest
    metric = tuned.metric.replace("_", " ")
    folds = ", ".join(f"{score:.3f}" for score in tuned.fold_scores)
    kind = "time folds" if manifest.split == "time" else "stratified folds"
    return Section(
        "Training",
        paragraphs=[
            f"XGBoost with {len(contract.features)} features on {candidate.device}, from the seed "
            f"{candidate.project.training.seed}. Of {tuned.trials} trials the best by mean {metric} was chosen: "
            f"{tuned.score:.3f} over {len(tuned.fold_scores)} {kind} ({folds})."
        ],
        tables=[
            Table(
                ("hyperparameter", "value"),
                [(name.replace("_", " "), f"{value:.4g}") for name, value in tuned.chosen],
            )
        ],
    )


def _sentence(text: str) -> str:
    return text.strip().rstrip(".") + "."
