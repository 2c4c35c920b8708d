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


def test_workflows_have_read_permission_only(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in workflow["jobs"].values())
    checkouts = [step for step in _steps(workflow) if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] == "false" for step in checkouts)


def test_scripts_contain_no_expressions(workflow: dict[str, Any]) -> None:
    # An expression in a script could inject code; environment variables cannot.
    assert not any("${{" in step.get("run", "") for step in _steps(workflow))


def test_scripts_are_valid_bash(workflow: dict[str, Any]) -> None:
    scripts = [step["run"] for step in _steps(workflow) if "run" in step]

    assert scripts
    for script in scripts:
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_ci_runs_the_same_script_as_developers(root: Path) -> None:
    ci = _read(root, "ci.yml")

    assert [step["run"] for step in _steps(ci) if "run" in step] == ["bash .ci/run"]
    assert "secrets." not in (root / ".github/workflows/ci.yml").read_text()
    assert ci["concurrency"]["cancel-in-progress"] == "true"


def test_release_starts_from_a_model_tag_and_is_not_cancelled(root: Path) -> None:
    release = _read(root, "release.yml")

    assert release["on"] == {"push": {"tags": ["model-v*"]}}
    assert release["concurrency"]["cancel-in-progress"] == "false"


def test_release_tests_the_model_before_the_push_and_rolls_back_on_failure(root: Path) -> None:
    scripts = [step.get("run", "") for step in _steps(_read(root, "release.yml"))]

    def position(text: str) -> int:
        (found,) = [index for index, script in enumerate(scripts) if text in script]
        return found

    assert position("deploy.smoke") < position("docker buildx build") < position("helm upgrade")
    assert "--rollback-on-failure" in scripts[position("helm upgrade")]
    assert position("helm upgrade") < position("proxy/health") < position("helm rollback")


def test_python_in_workflows_uses_existing_names(root: Path) -> None:
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


def test_chart_accepts_the_values_of_the_release(root: Path, helm: str) -> None:
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


def test_hooks_use_installed_tools(root: Path) -> None:
    config = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"].split()[0] for repo in config["repos"] for hook in repo["hooks"]]
    assert [entry for entry in entries if not (root / entry).is_file()] == []
