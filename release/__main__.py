"""``python -m release STEP``: the steps of a model's release, in their order, for any CI system.

Each step prints one JSON object on its last line, and exits with an error if the release must not continue. The steps
use the programs ``docker`` (with buildx), ``syft``, ``grype`` and ``cosign``. Settings and credentials are read from
the environment, as for all commands: ``CHURN_*``, ``MLFLOW_TRACKING_*``, ``KUBECONFIG``. The import of MLflow takes
seconds, so only the steps that need it import it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from include.command_line import CommandLine
from include.errors import ChurnflowError
from include.logs import configure_json_logs
from include.provenance.check import image_link, require_bento
from include.provenance.signature import sign
from include.provenance.statement import ProvenanceError
from include.settings import ROOT, get_settings

app = CommandLine()

_TAG = re.compile(r"model-v([1-9][0-9]*)")
_SEVERITY = "high"
"""The lowest severity of a known vulnerability that stops a release, if a fixed version exists."""

Version = Annotated[str, typer.Option(help="The model's version in the registry.")]
Image = Annotated[str, typer.Option(help="The image with its digest: REPOSITORY@sha256:...")]
Bento = Annotated[Path, typer.Option(help="The folder of the Bento, from the step build.", exists=True)]


class ReleaseError(ChurnflowError):
    """A step of the release failed, and the release must not continue."""


@app.command()
def version(tag: Annotated[str, typer.Option(help="The Git tag, such as model-v7.")]) -> None:
    """Print the model version that a Git tag names."""
    match = _TAG.fullmatch(tag)
    if match is None:
        raise ReleaseError("The tag names no model version.", where=tag, remedy="Push a tag such as model-v7.")
    _print({"model_version": match[1]})


@app.command()
def build(model_version: Version) -> None:
    """Fetch a version from the registry, check its provenance, build its Bento, and compare its predictions."""
    from include.serving.deployment import deploy
    from include.serving.deployment.package import package

    settings = get_settings()
    found = deploy.resolve(model_version, "serve", settings)
    bento = package(found, settings)
    compared = deploy.smoke(bento.as_dict(), settings)
    _print(bento.as_dict() | compared)


@app.command()
def image(
    bento: Bento,
    repository: Annotated[
        str, typer.Option(help="The repository of the image, such as registry.example/churn-serving.")
    ],
    tag: Annotated[str, typer.Option(help="The tag of the image.")],
) -> None:
    """Build the image of a Bento, push it, and print its digest."""
    with tempfile.TemporaryDirectory(prefix="churn-release-") as folder:
        metadata = Path(folder) / "image.json"
        _run(
            *("docker", "buildx", "build", "--target", "serving", "--build-context", f"bento={bento}"),
            *("--tag", f"{repository}:{tag}", "--push", "--metadata-file", str(metadata), str(ROOT)),
        )
        digest = json.loads(metadata.read_text())["containerimage.digest"]
    _print({"image": f"{repository}@{digest}"})


@app.command()
def scan(image: Image, sbom: Annotated[Path, typer.Option(help="The new file of the list of components.")]) -> None:
    """Write the image's components as CycloneDX, and fail if one has a severe vulnerability with a fix."""
    _run("syft", "scan", image, "--output", f"cyclonedx-json={sbom}")
    _run("grype", f"sbom:{sbom}", "--only-fixed", "--fail-on", _SEVERITY)
    _print({"components": len(json.loads(sbom.read_text()).get("components", []))})


@app.command(name="sign")
def sign_(
    image: Image,
    bento: Bento,
    model_version: Version,
    sbom: Annotated[Path, typer.Option(help="The file from the step scan.", exists=True)],
    statement: Annotated[Path, typer.Option(help="The new file of the signed provenance.")],
    key: Annotated[str, typer.Option(help="A key of cosign; empty: keyless, with the identity of the CI job.")] = "",
) -> None:
    """Sign the image, its components and its provenance, and store the signatures beside the image."""
    settings = get_settings()
    provenance = require_bento(bento, settings.project, model_version, settings.provenance.public_key)
    if provenance is None:
        raise ProvenanceError(
            "The Bento has no provenance.",
            where=str(bento),
            remedy="Train the model again with this version of the code.",
        )
    complete = provenance.with_link("image", image_link(image)).as_statement()
    statement.write_text(sign(complete, settings.provenance.signing_key), encoding="utf-8")
    predicate = statement.with_suffix(".predicate.json")
    predicate.write_text(json.dumps(complete["predicate"]), encoding="utf-8")
    identity = ("--key", key) if key else ()
    _run("cosign", "sign", "--yes", *identity, image)
    for kind, file in (("cyclonedx", sbom), ("slsaprovenance1", predicate)):
        _run("cosign", "attest", "--yes", *identity, "--type", kind, "--predicate", str(file), image)
    _print({"image": image, "statement": str(statement)})


@app.command()
def record(
    image: Image,
    bento: Bento,
    model_version: Version,
    statement: Annotated[Path, typer.Option(help="The file of the provenance from the step sign.", exists=True)],
) -> None:
    """Record the image, its Bento and its provenance at the version in the registry, so that it can be deployed."""
    from include.serving.deployment.pods import Release, record_release

    release = Release(image, bento.name, statement.read_text(encoding="utf-8"))
    record_release(model_version, release, get_settings())
    _print({"model_version": model_version, "image": image, "bento": bento.name})


@app.command(name="deploy")
def deploy_(bento: Bento, model_version: Version) -> None:
    """Replace the pods and set the alias champion; return to the former pods if the new pods do not serve it."""
    from include.serving.deployment import deploy
    from include.serving.deployment.rollout import roll_out
    from include.serving.deployment.state import BentoReference

    settings = get_settings()
    reference = BentoReference(bento.name, model_version, str(bento), settings.project)
    roll_out(reference, settings)
    deploy.restore_alias(model_version, settings)
    _print(reference.as_dict())


def _run(*command: str) -> None:
    # The standard output is for the result of the step.
    done = subprocess.run(command, stdout=sys.stderr, check=False)
    if done.returncode:
        raise ReleaseError(
            f"`{command[0]} {command[1]}` ended with status {done.returncode}.",
            where=command[0],
            remedy="Read its output above.",
        )


def _print(result: dict[str, Any]) -> None:
    typer.echo(json.dumps(result))


if __name__ == "__main__":
    configure_json_logs()
    app()
