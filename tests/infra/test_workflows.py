from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

WORKFLOWS = ["ci.yml", "release.yml"]


@pytest.fixture(params=WORKFLOWS)
def workflow(root: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    # The base loader: YAML 1.1 reads the key `on` as true.
    loaded: dict[str, Any] = yaml.load((root / ".github/workflows" / request.param).read_text(), yaml.BaseLoader)  # noqa: S506
    return loaded


def _steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def _read(root: Path, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((root / ".github/workflows" / name).read_text(), yaml.BaseLoader)  # noqa: S506
    return loaded


@pytest.mark.parametrize("schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"])
def test_workflows_follow_the_schema_and_end(root: Path, schema: str) -> None:
    files = [root / ".github/workflows" / name for name in WORKFLOWS]
    command = [root / ".venv/bin/check-jsonschema", "--builtin-schema", schema, *files]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_a_workflow_may_only_read_the_repository(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in workflow["jobs"].values())
    checkouts = [step for step in _steps(workflow) if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] == "false" for step in checkouts)


def test_no_expression_is_pasted_into_a_script(workflow: dict[str, Any]) -> None:
    # A tag or a secret reaches a shell through its environment, where it cannot become code.
    assert not any("${{" in step.get("run", "") for step in _steps(workflow))


def test_scripts_are_correct_bash(workflow: dict[str, Any]) -> None:
    scripts = [step["run"] for step in _steps(workflow) if "run" in step]

    assert scripts
    for script in scripts:
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_ci_runs_what_a_developer_runs(root: Path) -> None:
    ci = _read(root, "ci.yml")

    assert [step["run"] for step in _steps(ci) if "run" in step] == ["bash .ci/run"]
    assert "secrets." not in (root / ".github/workflows/ci.yml").read_text()
    assert ci["concurrency"]["cancel-in-progress"] == "true"


def test_a_release_starts_from_a_model_tag_and_is_never_cut_off(root: Path) -> None:
    release = _read(root, "release.yml")

    assert release["on"] == {"push": {"tags": ["model-v*"]}}
    assert release["concurrency"]["cancel-in-progress"] == "false"


def test_a_release_tries_the_model_before_it_pushes_and_goes_back_when_it_fails(root: Path) -> None:
    scripts = [step.get("run", "") for step in _steps(_read(root, "release.yml"))]

    def position(text: str) -> int:
        (found,) = [index for index, script in enumerate(scripts) if text in script]
        return found

    assert position("deploy.smoke") < position("docker buildx build") < position("helm upgrade")
    assert "--rollback-on-failure" in scripts[position("helm upgrade")]
    assert position("helm upgrade") < position("proxy/health") < position("helm rollback")


def test_python_inside_a_workflow_calls_what_exists(root: Path) -> None:
    files = sorted((root / ".github/workflows").glob("*.yml"))
    scripts = [step.get("run", "") for file in files for step in _steps(_read(root, file.name))]
    programs = [found for script in scripts for found in re.findall(r"<<'EOF'\n(.*?)^EOF$", script, re.M | re.S)]
    assert programs
    for program in programs:
        nodes = list(ast.walk(ast.parse(program)))
        imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
        names: dict[str, object] = {}
        exec(ast.unparse(ast.Module(imports, [])), names)  # noqa: S102
        for node in nodes:
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names:
                assert hasattr(names[node.value.id], node.attr), ast.unparse(node)


def test_the_values_that_a_release_sets_are_accepted_by_the_chart(root: Path, helm: str) -> None:
    script = next(s["run"] for s in _steps(_read(root, "release.yml")) if "helm upgrade" in s.get("run", ""))
    values = {
        "$IMAGE_REPOSITORY": "registry.example/team/churn-serving",
        "$TAG": "model-v7",
        "$DIGEST": "sha256:" + "0" * 64,
    }
    settings = re.findall(r'--set "([^"=]+)=([^"]+)"', script)
    arguments = [argument for name, value in settings for argument in ("--set", f"{name}={values[value]}")]

    command = [helm, "template", "churn-serving", root / "helm/churn-serving", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert f"registry.example/team/churn-serving@{values['$DIGEST']}" in done.stdout


def test_pre_commit_is_valid_and_runs_tools_that_are_installed(root: Path) -> None:
    config = root / ".pre-commit-config.yaml"
    command = [root / ".venv/bin/pre-commit", "validate-config", config]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

    entries = [
        hook["entry"].split()[0] for repo in yaml.safe_load(config.read_text())["repos"] for hook in repo["hooks"]
    ]
    assert [entry for entry in entries if not (root / entry).is_file()] == []
