"""``python -m include.serving``: run the endpoint, and look at it."""

from __future__ import annotations

import json
import sys

import typer

from include.errors import ChurnflowError
from include.logs import configure_json_logs
from include.serving.client import EndpointClient
from include.serving.pointer import read_pointer
from include.serving.runner import run as run_endpoint
from include.serving.smoke import bundled_samples
from include.settings import get_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run() -> None:
    """Serve the deployed model until stopped; wait quietly while there is none."""
    configure_json_logs()
    run_endpoint(get_settings())


@app.command()
def predict_sample() -> None:
    """Ask the endpoint about a customer whom training has recorded, and print its answer as JSON."""
    settings = get_settings()
    reference = read_pointer(settings.serving_dir)
    if reference is None:
        raise typer.BadParameter("no model is deployed yet")
    client = EndpointClient(settings.serving.url)
    try:
        answer = client.predict("sample-0", bundled_samples(reference)[0].features)
    finally:
        client.close()
    typer.echo(json.dumps(answer))


if __name__ == "__main__":
    try:
        app()
    except ChurnflowError as error:
        typer.echo(str(error), err=True)
        sys.exit(1)
