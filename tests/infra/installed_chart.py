"""A simulated cluster with an installed release of a chart, for ``helm template --dry-run=server``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.http_servers import StubHandler, stub
from tests.kubernetes.protocol import failure, kubeconfig


@contextmanager
def installed(release: str, documents: list[dict[str, Any]], kubeconfig_file: Path) -> Iterator[None]:
    """Answer requests for the documents of a release while the block runs, and write the client's configuration.

    Args:
        release: The name of the release.
        documents: The objects of the release. All kinds that helm renders must be among them.
        kubeconfig_file: The new file.
    """
    answers = _discovery(documents)
    for document in documents:
        metadata = document["metadata"]
        namespace = metadata["namespace"]
        owner = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace}
        owned = metadata | {"annotations": metadata.get("annotations", {}) | owner}
        path = f"{_group_path(document['apiVersion'])}/namespaces/{namespace}/{_plural(document['kind'])}"
        answers[f"{path}/{metadata['name']}"] = document | {"metadata": owned}

    class Handler(StubHandler):
        def respond(self) -> None:
            found = answers.get(self.path.partition("?")[0])
            self.answer(json.dumps(found or failure(404, "not found")).encode(), 200 if found else 404)

    with stub(Handler) as port:
        kubeconfig_file.write_text(json.dumps(kubeconfig(f"http://127.0.0.1:{port}")))
        yield


def _discovery(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the answers about the version of the cluster and its kinds of objects, by path."""
    kinds = sorted({(document["apiVersion"], document["kind"]) for document in documents})
    answers: dict[str, dict[str, Any]] = {"/version": {"major": "1", "minor": "35", "gitVersion": "v1.35.0"}}
    groups = []
    for version, items in groupby(kinds, key=lambda kind: kind[0]):
        resources = [{"name": _plural(kind), "kind": kind, "namespaced": True, "verbs": ["get"]} for _, kind in items]
        answers[_group_path(version)] = {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
        if "/" in version:
            group, number = version.split("/")
            groups.append({"name": group, "versions": [{"groupVersion": version, "version": number}]})
    answers["/api"] = {"kind": "APIVersions", "versions": ["v1"]}
    answers["/apis"] = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    return answers


def _group_path(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _plural(kind: str) -> str:
    name = kind.lower()
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"
