"""``python -m include.provenance``: create signing keys, and check a Bento in its image before it serves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from include.command_line import CommandLine
from include.provenance.check import image_link, require_bento, require_image
from include.provenance.signature import create_keys, sign
from include.provenance.statement import ProvenanceError

app = CommandLine()

Bento = Annotated[Path, typer.Option(help="The folder of the Bento.")]
Project = Annotated[str, typer.Option(help="The project of the model.")]
Version = Annotated[str, typer.Option(help="The model's version in the registry.")]
Image = Annotated[str, typer.Option(help="The image with its digest, REPOSITORY@sha256:..., or the digest.")]
PublicKey = Annotated[Path, typer.Option(help="The file of the public key.")]


@app.command()
def new_keys(
    private: Annotated[Path, typer.Option(help="The new file of the private key.")],
    public: Annotated[Path, typer.Option(help="The new file of the public key.")],
) -> None:
    """Create the pair of keys with which models are signed and checked."""
    create_keys(private, public)
    typer.echo(f"{private} must stay secret; {public} is for all processes that deploy and serve.")


@app.command()
def sign_image(
    bento: Bento,
    project: Project,
    model_version: Version,
    image: Image,
    public_key: PublicKey,
    signing_key: Annotated[Path, typer.Option(help="The file of the private key.")],
) -> None:
    """Print the signed provenance of an image, after a check of the Bento from which it was built."""
    provenance = require_bento(bento, project, model_version, public_key)
    if provenance is None:
        raise typer.BadParameter("the Bento has no provenance")
    typer.echo(sign(provenance.with_link("image", image_link(image)).as_statement(), signing_key), nl=False)


@app.command()
def check_image(
    bento: Bento,
    image: Image,
    public_key: PublicKey,
    statement: Annotated[Path, typer.Option(help="The file that sign-image printed.", exists=True)],
    project: Annotated[str | None, typer.Option(help="The project of the model; any by default.")] = None,
    model_version: Annotated[str | None, typer.Option(help="The version of the model; any by default.")] = None,
) -> None:
    """Exit with an error unless the image and the Bento in it have the checksums of the signed statement."""
    provenance = require_image(statement.read_bytes(), image, project, model_version, public_key)
    inside = require_bento(bento, provenance.project, provenance.model_version, public_key)
    if inside != provenance.with_link("bento", provenance.checksums.get("bento", {})):
        raise ProvenanceError(
            "The image contains another Bento than its provenance.",
            where=str(bento),
            remedy="Release the model again.",
        )
    version = f"Version {provenance.model_version} of {provenance.project}"
    typer.echo(f"{version} has the checksums of its provenance.")


if __name__ == "__main__":
    app()
