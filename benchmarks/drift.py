"""False verdicts, power and cost of the drift rule: ``make bench NAME=drift``, about 20 minutes.

The placebo days are days of a simulated business with weekly and yearly seasons, in which nothing else changes. The
reference is renewed every 28 days, as in production. Changes are injected: each starts on one of these days, and lasts.
The limits are the defaults of ``monitoring.yaml``; they do not depend on the placebo days. The realised performance
finds a change of the labels, at the earliest one horizon after its start. The weeks of the grocery households are
placebo days of real data, on which real changes also count as false verdicts.
"""

from __future__ import annotations

import datetime as dt
import statistics
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer

from benchmarks.drift_injections import CATEGORIES, DEAD, NUMBERS, Influential, change_window, stop_source
from benchmarks.drift_labels import days_to_find, fit_tested
from benchmarks.drift_rivals import DATASET_SHARE, Kinds, evidently_share, ks_alarms
from benchmarks.figures import print_figures, report_time
from benchmarks.performance_world import SEASON, Business
from include.days import DayRange
from include.ingest import ingest_days
from include.lake import Lake, open_lake
from include.logs import configure_json_logs
from include.monitoring.backtest import LargestChange, Outcome, backtest, largest_change, outcome
from include.monitoring.drift import detect_drift
from include.monitoring.replay import PastDay, Replay
from include.monitoring.source_health import source_severity
from include.monitoring.windows import with_scores
from include.projects import Project, load_project
from include.projects.monitoring import DriftLimits
from include.settings import Settings
from include.training.data.build import build_dataset
from include.training.data.dataset import dataset_dir
from include.training.data.rows import concatenate, load_rows, model_contract
from include.training.evaluation.change import Values
from include.training.evaluation.reference import make_profile, profile_feature
from include.training.fitting.recipe_fitter import RecipeFitter
from include.training.model.bundle import Bundle
from include.training.model.reference_profile import SCORE, ReferenceProfile, read_profile
from include.training.recipe import Hyperparameters, Recipe
from local.grocery_export import LAST_DAY, export
from simulator.world import World

SEED = 20230101
HISTORY_DAYS = 400
"""The number of days in gold before the first placebo day: a year of snapshots, and the horizon of their labels."""
FOUND_WITHIN = 28
"""The number of days within which a change of the features or sources must be found."""
_LAST_START = 90
"""The number of placebo days from the last start day on. The labels of its snapshots become known within these days."""
_HYPERPARAMETERS = Hyperparameters(
    n_estimators=200, max_depth=3, learning_rate=0.05, subsample=0.8, colsample_bytree=0.5, min_child_weight=20
)
_GROCERY = DayRange(dt.date(2017, 1, 1), LAST_DAY)


@dataclass
class Injected:
    """An injected change, and whether each day since its start exceeds the limits."""

    kind: str
    number: int
    start: dt.date
    exceeds: list[bool] = field(default_factory=list)
    days_to_find: int | None = None

    def is_active(self, day: dt.date) -> bool:
        """Return whether the change is injected on ``day`` and not found yet."""
        return self.days_to_find is None and 0 <= (day - self.start).days < FOUND_WITHIN

    def add(self, severity: float, limits: DriftLimits, day: dt.date) -> None:
        """Record the largest severity of ``day``; the verdict needs ``exceeded_days`` of ``of_days``."""
        self.exceeds.append(severity >= limits.multiplier)
        if sum(self.exceeds[-limits.of_days :]) >= limits.exceeded_days:
            self.days_to_find = (day - self.start).days + 1


def fit_model(project: Project, settings: Settings, through: dt.date) -> Bundle:
    """Return a model with fixed hyperparameters, fitted on all labels known when ``through`` ends, with its profile.

    Args:
        project: The project.
        settings: The home folder with the lake.
        through: The day of the training.
    """
    dataset = build_dataset(project, open_lake(settings), through, dataset_dir(settings, through))
    contract = model_contract(project, dataset.manifest)
    rows = concatenate([load_rows(dataset, part, contract) for part in dataset.manifest.parts.values()])
    recipe = Recipe(features=tuple(contract.feature_names), hyperparameters=_HYPERPARAMETERS)
    fitter = RecipeFitter(project, dataset, contract, settings.training.device, settings.training.workers)
    model = fitter.fit(rows, recipe)
    bundle = model.bundle(contract)
    profile = make_profile(project, rows, bundle, model.calibration.out_of_fold)
    return replace(bundle, profile=profile.model_dump_json().encode())


def influential(project: Project, bundle: Bundle) -> Influential:
    """Return the features that count for the verdict."""
    counting = {
        name: feature.kind
        for name, feature in read_profile(bundle).features.items()
        if name != SCORE and feature.influence >= project.monitoring.drift.min_influence
    }
    return Influential(
        *(tuple(name for name, kind in counting.items() if kind == wanted) for wanted in ("number", "category"))
    )


@dataclass(frozen=True)
class Placebo:
    """The results of the placebo days: the largest change of each day, the injected changes, and the other rules."""

    days: dict[dt.date, LargestChange]
    injected: list[Injected]
    rivals: list[dict[str, float]]


def run_placebo(project: Project, lake: Lake, bundle: Bundle, span: DayRange, starts: int, rival_days: int) -> Placebo:
    """Replay the placebo days, with and without injected changes.

    Args:
        project: The project.
        lake: The lake.
        bundle: The model with which the influences and the scores are computed.
        span: The placebo days.
        starts: The number of start days of each kind of change.
        rival_days: The number of days on which the other rules are evaluated.
    """
    replay, features = Replay(project, lake, bundle, span.last), influential(project, bundle)
    offsets = np.linspace(0, len(span) - _LAST_START, starts).astype(int).tolist()
    injected = [
        Injected(kind, number, span.first + dt.timedelta(days=offset))
        for kind in (*NUMBERS, CATEGORIES, DEAD)
        for number, offset in enumerate(offsets)
    ]
    chosen = {span.first + dt.timedelta(days=int(at)) for at in np.linspace(0, len(span) - 1, rival_days)}
    days: dict[dt.date, LargestChange] = {}
    rivals = []
    for past in replay.days(span):
        days[past.day] = largest_change(project, replay, past)
        for change in injected:
            if change.is_active(past.day):
                severity = _changed_severity(project, replay, bundle, past, change, features)
                change.add(max(severity, days[past.day].severity), project.monitoring.drift, past.day)
        if past.day in chosen:
            rivals.append(_rivals(project, replay, past))
        if past.day.day == 1:
            report_time(f"placebo {past.day}")
    return Placebo(days, injected, rivals)


def _changed_severity(
    project: Project, replay: Replay, bundle: Bundle, past: PastDay, change: Injected, features: Influential
) -> float:
    if change.kind == DEAD:
        # Features would also change, but later than the number of rows.
        sources = sorted(replay.counting & replay.source_rows.keys())
        name = sources[change.number % len(sources)]
        rows = replay.source_rows[name]
        stopped = {name: stop_source(rows, (change.start - rows.first).days)}
        return source_severity(stopped, {name}, project, past.profile.days[-1], past.day)
    if past.newest < change.start:
        return 0.0  # the rows of the window precede the change
    seed = [SEED, sum(map(ord, change.kind)), change.number]
    changed = change_window(change.kind, past.window.drop_columns(SCORE), features, seed)
    return detect_drift(past.profile, with_scores(changed, bundle), project.monitoring.drift).severity


def _rivals(project: Project, replay: Replay, past: PastDay) -> dict[str, float]:
    features = [(name, item.kind) for name, item in past.profile.features.items() if name != SCORE]
    kinds = Kinds(*([name for name, kind in features if kind == wanted] for wanted in ("number", "category")))
    reference = replay.window(past.profile.days[-1])
    started = time.process_time()
    share = evidently_share(reference, past.window, kinds)
    return {
        "evidently_share": share,
        "evidently_cpu_s": time.process_time() - started,
        "ks": float(ks_alarms(reference, past.window, kinds)),
    }


def change_labels(project: Project, lake: Lake, injected: list[Injected], training: dt.date) -> list[Injected]:
    """Return changes of the labels on the start days of ``injected``, with the days until they are found.

    Args:
        project: The project.
        lake: The lake.
        injected: The other changes.
        training: The day on which the evaluated model is trained.
    """
    recipe = Recipe(
        features=tuple(spec.name for spec in project.features),
        hyperparameters=_HYPERPARAMETERS,
    )
    tested = fit_tested(project, lake, training, recipe)
    return [
        Injected(kind, number, start, days_to_find=days)
        for number, start in enumerate(sorted({change.start for change in injected}))
        for kind, days in days_to_find(project, lake, tested, start, SEED + number).items()
    ]


def per_year(verdicts: list[bool], window_days: int) -> float:
    """Return the number of windows a year with a verdict, if windows do not overlap.

    Args:
        verdicts: The verdicts of windows.
        window_days: The length of a window.
    """
    return float(np.mean(verdicts)) * 365.25 / window_days


def cost(features: int, rows: int) -> float:
    """Return the CPU seconds of drift detection for one day, on random numbers.

    Args:
        features: The number of features.
        rows: The number of rows of the reference and of the window.
    """
    rng = np.random.default_rng(SEED)
    names = [f"feature_{number}" for number in range(features)]
    profile = ReferenceProfile(
        days=(dt.date(2026, 1, 1),),
        rows=rows,
        pairs=0,
        features={
            name: profile_feature(Values.of_numbers(rng.gamma(2.0, 50.0, rows)), _no_snapshot, [], 1 / features)
            for name in names
        },
    )
    window = pa.table({name: rng.gamma(2.0, 50.0, rows) for name in names})
    started = time.process_time()
    detect_drift(profile, window, DriftLimits())
    return time.process_time() - started


def _no_snapshot(day: dt.date) -> Values:
    raise AssertionError("there are no pairs of snapshots")


def power(injected: list[Injected]) -> dict[str, Any]:
    """Return the number of injected and found changes and the median days to find them, by kind."""
    kinds: defaultdict[str, list[Injected]] = defaultdict(list)
    for change in injected:
        kinds[change.kind].append(change)
    return {
        kind: {
            "injected": len(changes),
            "found": sum(change.days_to_find is not None for change in changes),
            "days_to_find": _median_days(changes),
        }
        for kind, changes in kinds.items()
    }


def _median_days(changes: list[Injected]) -> float | None:
    found = [change.days_to_find for change in changes if change.days_to_find is not None]
    return float(statistics.median(found)) if found else None


def grocery(home: Path) -> dict[str, Any]:
    """Return the outcome of the backtest on the real weeks of the grocery households.

    Args:
        home: An empty folder.
    """
    settings, project = Settings(home=home, project="grocery"), load_project("grocery")
    export(Path(settings.landing_uri) / "grocery", _GROCERY)
    ingest_days(settings, _GROCERY)
    report_time("grocery ingested")
    bundle = fit_model(project, settings, _GROCERY.last)
    result = backtest(project, open_lake(settings), bundle, _GROCERY)
    return {"weeks": len(result.days), **_summary(result.configured, result.days)}


def _summary(found: Outcome, days: dict[dt.date, LargestChange] | Any) -> dict[str, Any]:
    return {
        "days": found.days,
        "verdict_days": found.verdict_days,
        "alarms": {str(day): days[day].text for day in found.alarms},
        "alarms_per_year": round(found.alarms_per_year, 3),
        "alarms_per_year_upper95": round(found.upper95_per_year, 3),
        "severity_max": round(max(largest.severity for largest in days.values()), 3),
        "severity_q99": round(float(np.quantile([largest.severity for largest in days.values()], 0.99)), 3),
    }


def main(
    customers: Annotated[int, typer.Option(help="Number of customers over the whole time.")] = 18_000,
    days: Annotated[int, typer.Option(help="Number of days of the simulated business.")] = 1_690,
    starts: Annotated[int, typer.Option(help="Number of start days of each kind of change.")] = 20,
    rival_days: Annotated[int, typer.Option(help="Number of days on which the other rules are evaluated.")] = 40,
    seed: Annotated[int, typer.Option(help="The seed of the simulated business.")] = SEED,
    world: Annotated[Path | None, typer.Option(help="A home folder that an earlier run has filled.")] = None,
    with_grocery: Annotated[bool, typer.Option(help="Also replay the grocery weeks.")] = True,
) -> None:
    """Simulate, replay the placebo days and the injected changes, and print the figures; the last line is JSON."""
    configure_json_logs()
    started, project = time.perf_counter(), load_project("subscription")
    with tempfile.TemporaryDirectory(prefix="churnflow-drift-") as folder:
        parameters = World(customers=customers, first_day=project.first_day, seed=seed, pace_days=days, season=SEASON)
        business = Business(world or Path(folder) / "subscription", parameters)
        settings, last = business.settings, project.first_day + dt.timedelta(days=days - 1)
        if world is None:
            business.append(DayRange(project.first_day, last), DayRange(project.first_snapshot, last))
            report_time("simulated")
        span = DayRange(project.first_snapshot + dt.timedelta(days=HISTORY_DAYS), last)
        bundle = fit_model(project, settings, span.first)
        report_time("model fitted")
        placebo = run_placebo(project, open_lake(settings), bundle, span, starts, rival_days)
        labels = change_labels(project, open_lake(settings), placebo.injected, span.first)
        report_time("labels changed")
        weeks = grocery(Path(folder) / "grocery") if with_grocery else None
    limits, window_days = project.monitoring.drift, project.monitoring.window_days
    severities = {day: largest.severity for day, largest in placebo.days.items()}
    found = outcome(severities, limits.multiplier, limits.exceeded_days, limits.of_days, window_days)
    shares = [rival["evidently_share"] for rival in placebo.rivals]
    injected = [*placebo.injected, *labels]
    found_changes = [change for change in injected if change.days_to_find is not None]
    details = {
        "placebo": _summary(found, placebo.days),
        "by_multiplier": {
            str(multiplier): len(outcome(severities, multiplier, 1, 1, window_days).alarms)
            for multiplier in (1.0, 1.25, 1.5, 2.0)
        },
        "power": power(injected),
        "evidently_some_column_per_year": round(per_year([share > 0 for share in shares], window_days), 2),
        "evidently_mean_share": round(float(np.mean(shares)), 3),
        "evidently_cpu_s": round(float(np.mean([rival["evidently_cpu_s"] for rival in placebo.rivals])), 2),
        "rival_days": len(shares),
        "grocery": weeks,
        "cpu_s": {f"{k} x {n}": round(cost(k, n), 3) for k, n in ((100, 10_000), (1_000, 10_000))},
        "seconds": round(time.perf_counter() - started),
    }
    figures = {
        "alarms_per_year": round(found.alarms_per_year, 3),
        "alarms_per_year_upper95": round(found.upper95_per_year, 3),
        "placebo_days": len(placebo.days),
        "injected": len(injected),
        "found": len(found_changes),
        "days_to_find": _median_days(injected),
        "evidently_alarms_per_year": round(per_year([share >= DATASET_SHARE for share in shares], window_days), 2),
        "ks_alarms_per_year": round(per_year([rival["ks"] > 0 for rival in placebo.rivals], window_days), 2),
        "cpu_s_100x100k": round(cost(100, 100_000), 3),
    }
    print_figures("drift", figures, details)


if __name__ == "__main__":
    typer.run(main)
