"""Rules of the CI files that no linter checks; zizmor checks pins, permissions and injections."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml


def _read(root: Path, name: str) -> dict[str, Any]:
    # The base loader: YAML 1.1 reads the key `on` as true.
    loaded: dict[str, Any] = yaml.load((root / name).read_text(), yaml.BaseLoader)  # noqa: S506
    return loaded


def _scripts(workflow: dict[str, Any]) -> list[str]:
    return [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]


def test_ci_runs_the_commands_of_developers_without_secrets(root: Path) -> None:
    scripts = _scripts(_read(root, ".github/workflows/ci.yml"))
    assert {"bash .ci/run", "make audit PYTHON=python3.11"} < set(scripts)
    assert "secrets." not in (root / ".github/workflows/ci.yml").read_text()


def test_releases_start_from_the_tag_of_a_model_and_are_not_cancelled(root: Path) -> None:
    github, gitlab = _read(root, ".github/workflows/release.yml"), _read(root, ".gitlab-ci.yml")["release-model"]
    assert github["on"] == {"push": {"tags": ["model-v*"]}}
    assert github["concurrency"] == {"group": "release-model", "cancel-in-progress": "false"}
    assert [rule["if"] for rule in gitlab["rules"]] == ["$CI_COMMIT_TAG =~ /^model-v[1-9][0-9]*$/"]
    assert gitlab["resource_group"] == "release-model"


def test_both_releases_run_the_same_program(root: Path) -> None:
    github, gitlab = _read(root, ".github/workflows/release.yml"), _read(root, ".gitlab-ci.yml")["release-model"]
    assert 'bash release/model.sh "$TAG" "$IMAGE_REPOSITORY"' in _scripts(github)
    assert gitlab["script"] == ['bash release/model.sh "$CI_COMMIT_TAG" "$IMAGE_REPOSITORY"']


@pytest.mark.parametrize("name", [".github/workflows/release.yml", ".gitlab-ci.yml"])
def test_settings_of_the_release_exist(root: Path, name: str) -> None:
    """An unknown variable is ignored, so a misspelt one would have no effect."""
    from include.settings import Settings

    names = set(re.findall(r"\bCHURN_[A-Z_]+", (root / name).read_text())) - {"CHURN_API_KEY"}  # a secret of GitHub
    assert names
    for variable in names:
        group, *rest = variable.removeprefix("CHURN_").lower().split("__")
        fields = Settings.model_fields
        assert group in fields, variable
        for part in rest:
            fields = fields[group].annotation.model_fields  # type: ignore[union-attr]
            assert part in fields, variable
            group = part


def test_hooks_use_installed_tools(root: Path) -> None:
    config = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"].split()[0] for repo in config["repos"] for hook in repo["hooks"]]
    assert [entry for entry in entries if not (root / entry).is_file()] == []
