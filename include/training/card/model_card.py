"""The model card: purpose, results, limits, data and training of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from include.plurals import counted
from include.reporting import Page, Section, Table
from include.training.candidate import Candidate
from include.training.card import checks, results
from include.training.evaluation.importance import importances
from include.training.evaluation.requirements import Verdict
from include.training.evaluation.segments import evaluate_segments
from include.training.model.bundle import Bundle
from include.training.model.contract import ModelContract

_CALIBRATED = (
    "The calibrator is fitted on training days only: in a season with more or fewer churners, the probabilities are "
    "biased."
)


@dataclass(frozen=True)
class ModelCard:
    """The formats of a card.

    Attributes:
        markdown: The card as Markdown, with links to the plots' files.
        html: The card as one HTML file.
        plots: The plots as SVG, by path relative to the card.
        summary: A few lines of Markdown.
    """

    markdown: str
    html: str
    plots: dict[str, str]
    summary: str


def make_model_card(candidate: Candidate, bundle: Bundle, version: str, verdicts: Sequence[Verdict]) -> ModelCard:
    """Return the card of a model.

    Args:
        candidate: The data, the search and the evaluation.
        bundle: The candidate's bundle, with its run.
        version: Its version in the registry.
        verdicts: The verdicts on the project's requirements.
    """
    project, contract, evaluation = candidate.project, bundle.contract, candidate.evaluation
    descriptions = {spec.name: spec.description for spec in project.features}
    segments = evaluate_segments(project, candidate.test, candidate.probabilities, contract.threshold)
    page = Page(
        title=f"Model card: churn-{contract.project}, version {version}",
        lead=" ".join(project.description.split()),
        sections=[
            _purpose(candidate, contract, version),
            checks.comparison(candidate.comparison),
            results.metrics(evaluation),
            results.savings(evaluation, project.requirements.costs),
            results.thresholds(evaluation),
            results.calibration(evaluation, candidate.evaluated.calibration),
            results.ranking(evaluation),
            results.segments(segments, project.training.segments, descriptions),
            results.importance(importances(bundle, candidate.test.matrix)),
            checks.requirements(verdicts),
            checks.leakage(candidate.leakage),
            _limits(candidate),
            _data(candidate),
            _training(candidate, contract),
            _history(candidate),
            Section(
                "Rollback",
                paragraphs=[
                    "Run the DAG churn_rollback: the version with the alias previous becomes the champion, and the "
                    "endpoint serves it again."
                ],
            ),
        ],
    )
    return ModelCard(
        markdown=page.markdown(),
        html=page.html(),
        plots={plot.path: plot.svg for section in page.sections for plot in section.plots},
        summary=_summary(candidate, bundle, verdicts),
    )


def _summary(candidate: Candidate, bundle: Bundle, verdicts: Sequence[Verdict]) -> str:
    evaluation, contract = candidate.evaluation, bundle.contract
    warning_text = candidate.model.calibration.warning
    auc, saving = evaluation.intervals["auc"], evaluation.intervals["saving_usd_per_1000_at_threshold"]
    missed = [verdict.name for verdict in verdicts if not verdict.ok]
    test = candidate.dataset.manifest.test
    warning = f"- warning: {warning_text}\n" if warning_text else ""
    return (
        f"Trained on snapshots through {contract.trained_through}. Its recipe was evaluated by a model that was "
        f"trained through {candidate.evaluated_through}, on {counted(evaluation.rows, 'row')} of {test.days[0]} to "
        f"{test.days[-1]}.\n\n"
        f"- AUC {evaluation.auc:.3f} ({auc.low:.3f} to {auc.high:.3f})\n"
        f"- saves ${evaluation.at_threshold.saving_usd_per_1000:,.0f} per 1,000 customers "
        f"({saving.low:,.0f} to {saving.high:,.0f}) with offers at a threshold of {contract.threshold:.3g}\n"
        f"- the best baseline ({evaluation.best_baseline.name}) saves "
        f"${evaluation.best_baseline.decisions.saving_usd_per_1000:,.0f}\n"
        f"- requirements missed: {', '.join(missed) or 'none'}\n"
        f"{warning}\n"
        f"The whole model card is the run's artifact `model_card.html`.\n"
    )


def _purpose(candidate: Candidate, contract: ModelContract, version: str) -> Section:
    project = candidate.project
    costs = project.requirements.costs
    return Section(
        "Prediction",
        paragraphs=[
            f"{_sentence(project.label.description)} The model predicts the probability of this.",
            f"A probability of at least {contract.threshold:.3g} is predicted as churn, and the customer gets an "
            f"offer. At this threshold, an offer saves on average as much as it costs: a missed churner costs "
            f"${costs.missed_churner_usd:g}, a needless offer ${costs.needless_offer_usd:g}.",
        ],
        tables=[
            Table(
                ("fact", "value"),
                [
                    ("registered as", f"churn-{contract.project}, version {version}"),
                    ("MLflow run", contract.run_id),
                    ("owner", project.owner),
                    ("training requested", candidate.dataset.manifest.request_reason),
                    ("trained on snapshots through", str(contract.trained_through)),
                    ("evaluated model trained on snapshots through", str(candidate.evaluated_through)),
                    ("label horizon", counted(contract.horizon_days, "day") if contract.horizon_days else "none"),
                ],
                texts=2,
            )
        ],
    )


def _limits(candidate: Candidate) -> Section:
    items = [
        candidate.model.calibration.warning or _CALIBRATED,
        "The training data covers the customers of the training days only; it contains no season, price change or "
        "product line of other days.",
        "The model predicts who is likely to leave, not which customers an offer would keep.",
    ]
    if candidate.dataset.manifest.split == "time":
        items.append("The test is one period; the intervals do not cover differences between periods.")
    else:
        items.append(
            "The performance on later deliveries is unknown: a column that was filled in after a customer had left "
            "would improve the metrics here and be useless in production."
        )
    if candidate.project.requirements.notes:
        items.append(candidate.project.requirements.notes)
    return Section("Limits", items=items)


def _data(candidate: Candidate) -> Section:
    manifest = candidate.dataset.manifest
    if manifest.split == "time":
        split = (
            f"The split is by time, with a gap of one horizon ({counted(manifest.horizon_days, 'day')}): "
            "every training label was known before the first test day. The evaluated model was fitted on the training "
            "rows. The registered model has the same recipe and was fitted on all rows, the latest snapshots included."
        )
    else:
        split = (
            "The data has no time: the test is other customers of the same delivery, drawn by a hash of their id with "
            "the same share of churners. The metrics assume that future customers are similar. The registered model "
            "has the recipe of the evaluated model and was fitted on all customers."
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
        for title, part in (("training", manifest.train), ("gap", manifest.gap), ("test", manifest.test))
        if part.days
    ]
    versions = [(f"table {table}", f"Delta version {version}") for table, version in manifest.all_tables.items()]
    if manifest.data_version:
        raw = manifest.data_version
        versions.append(("raw data", f"DVC revision {raw.revision}, stored at {raw.remote}"))
    versions.append(("rows of all parts", f"fingerprint {manifest.fingerprint}"))
    versions.append(("configuration", f"checksum {manifest.configuration_sha256}"))
    return Section(
        "Data",
        paragraphs=[split],
        tables=[
            Table(("part", "first snapshot", "last snapshot", "snapshots", "rows", "churned"), parts, texts=3),
            Table(("item", "version"), versions, texts=2),
        ],
    )


def _training(candidate: Candidate, contract: ModelContract) -> Section:
    tuned, manifest = candidate.tuned, candidate.dataset.manifest
    metric = tuned.metric.replace("_", " ")
    folds = ", ".join(f"{score:.3f}" for score in tuned.fold_scores)
    kind = "time folds" if manifest.split == "time" else "stratified folds"
    return Section(
        "Training",
        paragraphs=[
            f"XGBoost with {counted(len(contract.features), 'feature')} on {candidate.model.device}, with the seed "
            f"{candidate.project.training.seed}. The best of {counted(tuned.trials, 'trial')} by mean "
            f"{metric} was chosen: "
            f"{tuned.score:.3f} over {len(tuned.fold_scores)} {kind} ({folds})."
        ],
        tables=[
            Table(
                ("hyperparameter", "value"),
                [(name.replace("_", " "), f"{value:.4g}") for name, value in candidate.recipe.hyperparameters],
            )
        ],
    )


def _history(candidate: Candidate) -> Section:
    """Return the weights of the rows by age, and the options that were compared."""
    histories = {"the registered model": candidate.model.history, "the evaluated model": candidate.evaluated.history}
    if not any(made.scores for made in histories.values()):
        text = "All rows have equal weights: the data has no time, or too few snapshots to compare other weights."
        return Section("History", paragraphs=[text])
    return Section(
        "History",
        paragraphs=[
            "A half-life is the age that halves the weight of a row. For each option, a booster was fitted on the rows "
            "whose labels were known before the two latest snapshots, and scored on these snapshots. A half-life is "
            "chosen only if the lower bound of its gain in AUC over equal weights is above 0."
        ],
        tables=[
            Table(
                ("weights", "AUC"),
                [(score.name, f"{score.auc:.4f}") for score in made.scores],
                title=f"{title}: {made.name}"
                + ("" if made.gain_low is None else f"; lower bound of the highest gain {made.gain_low:+.4f}"),
            )
            for title, made in histories.items()
            if made.scores
        ],
    )


def _sentence(text: str) -> str:
    return text.strip().rstrip(".") + "."
