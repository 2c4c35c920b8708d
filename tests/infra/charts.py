"""Helm commands on a chart of this repository."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

KUBERNETES = ("1.33", "1.35")
CUSTOM = ("monitoring.coreos.com/", "keda.sh/", "gateway.networking.k8s.io/")
"""The groups of custom resources, for which there is no schema here."""


# Reading the schemas takes 50 times as long as a validation.
kubernetes_validate.utils.schema_contents = lru_cache(kubernetes_validate.utils.schema_contents)


def require_valid(document: dict[str, Any]) -> None:
    """Validate a document strictly against the schemas of each version of Kubernetes."""
    for version in KUBERNETES:
        kubernetes_validate.validate(document, version, strict=True)


@dataclass(frozen=True)
class Chart:
    """A chart, and a folder for the values of a command."""

    helm: str
    folder: Path
    scratch: Path

    def run(self, *command: str, **values: Any) -> subprocess.CompletedProcess[str]:
        """Run a command of helm with values."""
        file = self.scratch / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        line = [self.helm, *command, str(self.folder), "--values", str(file)]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    def render(self, **values: Any) -> list[dict[str, Any]]:
        """Render the chart for the namespace ``churn``, and validate each document strictly."""
        done = self.run("template", self.folder.name, "--namespace", "churn", **values)
        assert done.returncode == 0, done.stderr
        documents = [document for document in yaml.safe_load_all(done.stdout) if document]
        for document in documents:
            if not document["apiVersion"].startswith(CUSTOM):
                require_valid(document)
        return documents

    def by_kind(self, **values: Any) -> dict[str, dict[str, Any]]:
        """Render a chart with at most one document of a kind."""
        documents = self.render(**values)
        found = {document["kind"]: document for document in documents}
        assert len(found) == len(documents), [document["kind"] for document in documents]
        return found


def names(documents: list[dict[str, Any]], kind: str) -> set[str]:
    """Return the names of the documents of a kind."""
    return {document["metadata"]["name"] for document in documents if document["kind"] == kind}
