"""The commands of docs/runbook.md exist, and each kind of message has a section."""

from __future__ import annotations

import importlib
import json
import re
import shlex

import pytest
import typer.main

from include.monitoring.alerts import Addresses, run_failure
from include.monitoring.incident_facts import KINDS
from include.settings import ROOT
from tests.docs.blocks import blocks

RUNBOOK = "runbook.md"
COMMANDS = [line for block in blocks(RUNBOOK, "sh") for line in block.splitlines()]


@pytest.mark.parametrize("line", COMMANDS)
def test_command_exists(line: str) -> None:
    program, *words = shlex.split(line)
    if program == "make":
        assert f"\n{words[0]}:" in (ROOT / "Makefile").read_text()
    elif program == "bin/airflow":
        assert (ROOT / program).exists()
        assert words[:2] in (["dags", "trigger"], ["dags", "unpause"])
        parameters = json.loads(words[4]) if "--conf" in words else {}
        code = (ROOT / "dags" / f"{words[2]}.py").read_text()
        assert all(f'"{name}": ' in code for name in parameters)
    else:
        assert (program, words[0]) == (".venv/bin/python", "-m")
        app = typer.main.get_command(importlib.import_module(f"{words[1]}.__main__").app)
        command = app.commands[words[2]]  # type: ignore[attr-defined]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options


def test_messages_link_to_sections() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / RUNBOOK).read_text(), flags=re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    links = dict(run_failure("churn_score", "r", {}, "timed_out", "", Addresses()).links)
    assert {*KINDS, links["Runbook"].partition("#")[2]} <= anchors
