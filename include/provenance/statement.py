"""The provenance of a model as an in-toto statement with a SLSA provenance predicate.

It has one entry for each file behind the model, with its SHA-256 checksum. The entries belong to links: the version of
the raw data, the MLflow run, the bundle, the Bento and the image. Specifications: https://in-toto.io/Statement/v1 and
https://slsa.dev/provenance/v1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from include.errors import ChurnflowError

Link = Literal["data", "run", "bundle", "bento", "image"]
LINKS: tuple[Link, ...] = ("data", "run", "bundle", "bento", "image")
"""The links in the order in which they are made."""
PROVENANCE_FILE = "provenance.json"

_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://slsa.dev/provenance/v1"
_BUILD_TYPE = "urn:churnflow:model:v1"
_BUILDERS = {"bundle": "training", "bento": "deployment", "image": "release"}


class ProvenanceError(ChurnflowError):
    """The provenance of a model is missing, is not trusted, or differs from the model."""


@dataclass(frozen=True)
class Provenance:
    """The checksums of everything behind a model.

    Attributes:
        project: The project.
        run_id: The MLflow run that trained the model.
        model_version: The version in the registry.
        checksums: For each link, the checksum of each file by its name. The data has the entry ``revision``, and the
            image the entry ``image``.
    """

    project: str
    run_id: str
    model_version: str
    checksums: Mapping[Link, Mapping[str, str]] = field(default_factory=dict)

    def with_link(self, link: Link, checksums: Mapping[str, str]) -> Self:
        """Return the provenance with a further link, without the links after it."""
        earlier = {name: self.checksums[name] for name in LINKS[: LINKS.index(link)] if name in self.checksums}
        return replace(self, checksums=earlier | {link: dict(checksums)})

    def require(self, link: Link, found: Mapping[str, str], where: object, *, complete: bool = True) -> None:
        """Check that files have the recorded checksums.

        Args:
            link: Their link.
            found: The checksum of each file by its name.
            where: Their location, for the message.
            complete: Whether a file that is not recorded is also an error.

        Raises:
            ProvenanceError: A file is missing, differs, or is not recorded.
        """
        recorded = self.checksums.get(link, {})
        differing = {name for name, checksum in recorded.items() if found.get(name) != checksum}
        if complete:
            differing |= found.keys() - recorded.keys()
        if differing or not recorded:
            names = ", ".join(sorted(differing)[:3]) or "everything"
            raise ProvenanceError(
                f"The {link} of model version {self.model_version} differs from its provenance: {names}.",
                where=str(where),
                remedy="Find out who changed it. Train the model again, or deploy another version.",
            )

    def as_statement(self) -> dict[str, Any]:
        """Return the in-toto statement. Its subject is the last link, and the other links are its dependencies."""
        made = [link for link in LINKS if link in self.checksums]
        parameters = {"project": self.project, "run_id": self.run_id, "model_version": self.model_version}
        return {
            "_type": _STATEMENT,
            "subject": self._descriptors(made[-1]),
            "predicateType": _PREDICATE,
            "predicate": {
                "buildDefinition": {
                    "buildType": _BUILD_TYPE,
                    "externalParameters": parameters,
                    "resolvedDependencies": [item for link in made[:-1] for item in self._descriptors(link)],
                },
                "runDetails": {
                    "builder": {"id": "urn:churnflow:churn_deploy" if "bento" in made else "urn:churnflow:churn_train"}
                },
            },
        }

    @classmethod
    def from_statement(cls, statement: Mapping[str, Any]) -> Self:
        """Return the provenance in a statement.

        Raises:
            KeyError: The statement lacks a required entry.
            ValueError: The statement is of another type, or names an unknown link.
        """
        if (statement["_type"], statement["predicateType"]) != (_STATEMENT, _PREDICATE):
            raise ValueError(f"{statement['_type']} with {statement['predicateType']}")
        build = statement["predicate"]["buildDefinition"]
        if build["buildType"] != _BUILD_TYPE:
            raise ValueError(build["buildType"])
        checksums: dict[Link, dict[str, str]] = {}
        for item in [*build["resolvedDependencies"], *statement["subject"]]:
            name, _, file = item["name"].partition("/")
            checksums.setdefault(LINKS[LINKS.index(name)], {})[file] = item["digest"][_algorithm(name)]
        return cls(**build["externalParameters"], checksums=checksums)

    def _descriptors(self, link: Link) -> list[dict[str, Any]]:
        files = sorted(self.checksums[link].items())
        return [{"name": f"{link}/{file}", "digest": {_algorithm(link): checksum}} for file, checksum in files]


def checksums_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 checksum of each file below a folder by its relative path, without its provenance.

    Args:
        folder: The folder.
    """
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / PROVENANCE_FILE
    }


def _algorithm(link: str) -> str:
    return "md5" if link == "data" else "sha256"  # the revision is DVC's checksum
