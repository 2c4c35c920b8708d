"""The checks of gate 2: training, requirements, registry, tests, documents and leakage."""

from __future__ import annotations

import json
import re

from include.drills import TESTS, read_drill
from include.plurals import counted
from include.readiness.system import Evidence, System, modified
from include.readiness.tested_code import code_checksum
from include.training.data.dataset import BY_HAND


def training_automated(system: System) -> Evidence:
    """Check that the pipeline carried out the last training.

    Only ``churn_train`` stores the raw data of a training by itself; the command ``include.training all`` does not.
    """
    model = system.model("challenger")
    tags = model.record.tags
    by_pipeline = "dvc.revision" in tags
    ran = "churn_train trained" if by_pipeline else "A command outside of the pipeline trained"
    return Evidence(
        passed=by_pipeline,
        text=f"{ran} version {model.version}, the newest version. Reason: {tags.get('request_reason', BY_HAND)}.",
        figure=f"version {model.version}",
        time=model.record.registered,
        link=model.link,
    )


def baseline_metrics(system: System) -> Evidence:
    """Check that the champion met all requirements on its data, its metrics and the duration of its training."""
    from include.training.evaluation.requirements import REQUIREMENTS_FILE

    model = system.model("champion")
    verdicts = json.loads(model.document(REQUIREMENTS_FILE) or b"{}").get("verdicts", [])
    missed = [
        f"{item['name']} {item['found']:.4g} ({'at least' if item['bound'] == 'min' else 'at most'} "
        f"{item['required']:g})"
        for item in verdicts
        if not item["ok"]
    ]
    if not verdicts:
        return Evidence(False, f"The training of version {model.version} checked no requirement.", link=model.link)
    result = f"missed: {', '.join(missed)}" if missed else "met all requirements of its training"
    return Evidence(
        passed=not missed,
        text=f"The champion, version {model.version}, {result}.",
        figure=f"{len(verdicts) - len(missed)} of {len(verdicts)} met",
        time=model.record.registered,
        link=_card(system, model.version) or model.link,
    )


def model_registered(system: System) -> Evidence:
    """Check that a registered version has the alias of the champion."""
    model = system.model("champion")
    text = f"The alias champion of {model.registry.name} names version {model.version}."
    return Evidence(True, text, f"version {model.version}", system.now, model.link)


def experiment_tracked(system: System) -> Evidence:
    """Check that the champion's run recorded metrics."""
    model = system.model("champion")
    number = len(model.record.metrics)
    return Evidence(
        passed=number > 0,
        text=f"Run {model.record.run_id} of version {model.version} contains {counted(number, 'metric')}.",
        figure=counted(number, "metric"),
        time=system.now,
        link=model.link,
    )


def tests_pass(system: System) -> Evidence:
    """Check that all tests passed with the code of this installation."""
    record = read_drill(system.settings.home, TESTS)
    if record is None:
        place = system.settings.home / "drills"
        return Evidence(
            False, f"No run of all tests is recorded in {place}. `make test` writes tests.json to var/drills."
        )
    figures = record.figures
    same = figures.get("code") == code_checksum(system.root)
    text = f"`make test`: {figures['passed']:,} tests passed, {figures['failed']:,} failed, {figures['skipped']:,} "
    text += f"skipped, in {figures['seconds']:,} s, "
    return Evidence(
        passed=record.passed and same,
        text=text + ("with the code of this installation." if same else "but with other code than this installation."),
        figure=f"{figures['passed']:,} passed",
        time=record.carried_out,
    )


def model_card(system: System) -> Evidence:
    """Check that the champion's model card is published."""
    model = system.model("champion")
    path = _card(system, model.version)
    if not path:
        return Evidence(False, f"The model card of the champion, version {model.version}, is not among the reports.")
    time = modified(system.settings.reports_dir / path)
    return Evidence(
        True,
        f"The card of the champion, version {model.version}, is published.",
        f"version {model.version}",
        time,
        path,
    )


def architecture_documented(system: System) -> Evidence:
    """Check that docs/architecture.md describes every package of ``include/``."""
    path = "docs/architecture.md"
    documented = set(re.findall(r"`include/(\w+)(?:/|\.py)`", system.text(path)))
    parts = {item.parent.name for item in (system.root / "include").glob("*/__init__.py")}
    parts |= {item.stem for item in (system.root / "include").glob("[!_]*.py")}
    missing = sorted(parts - documented)
    names = ", ".join(missing)
    return Evidence(
        passed=not missing,
        text=f"{path} does not describe {names}." if missing else f"{path} describes every part of include/.",
        figure=f"{len(parts) - len(missing)} of {len(parts)} parts",
        time=system.now,
    )


def no_leakage(system: System) -> Evidence:
    """Check that the champion was checked for leakage, without a finding."""
    from include.training.evaluation.leakage import LEAKAGE_FILE, require_no_leakage

    model = system.model("champion")
    require_no_leakage(model.document(LEAKAGE_FILE), f"{model.registry.name} version {model.version}")
    text = f"The leakage checks of the champion, version {model.version}, have no finding."
    return Evidence(True, text, "0 findings", model.record.registered, _card(system, model.version) or model.link)


def _card(system: System, version: str) -> str:
    from include.training.release.publish import published_card

    return system.report(published_card(version))
