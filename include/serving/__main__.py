"""``python -m include.serving``: run the endpoint, and look at it."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated

import typer

from include.command_line import CommandLine
from include.logs import configure_json_logs
from include.serving.deployment.client import EndpointClient
from include.serving.deployment.rollout import end_shadow
from include.serving.deployment.runner import run as run_endpoint
from include.serving.deployment.samples import bundled_samples
from include.serving.deployment.transaction import served_bento
from include.serving.endpoint.keys import add_key, read_keys, revoke_key
from include.settings import SettingsError, get_settings

app = CommandLine()


@app.command()
def run() -> None:
    """Serve the deployed model until stopped; wait quietly while there is none."""
    configure_json_logs()
    run_endpoint(get_settings())


@app.command()
def predict_sample() -> None:
    """Ask the endpoint about a customer whom training has recorded, and print its answer as JSON."""
    settings = get_settings()
    reference = served_bento(settings.serving_dir)
    if reference is None:
        raise typer.BadParameter("no model is deployed yet")
    client = EndpointClient(settings.serving.url, settings.serving.api_key)
    try:
        answer = client.predict("sample-0", bundled_samples(reference)[0].features)
    finally:
        client.close()
    typer.echo(json.dumps(answer))


@app.command(name="end-shadow")
def end() -> None:
    """Take the shadow away from the model that serves, and print which Bento it was."""
    shadow = end_shadow(get_settings())
    typer.echo(shadow.bento if shadow else "There is no shadow.")


@app.command()
def new_key(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    expires: Annotated[dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Its last day, in UTC.")] = None,
) -> None:
    """Make an API key and print it, once: only its hash is kept. A running endpoint accepts it a second later."""
    typer.echo(add_key(_key_file(), name, expires.date() if expires else None))


@app.command()
def list_keys() -> None:
    """Print the names of the API keys and their last days."""
    for name, key in sorted(read_keys(_key_file()).items()):
        typer.echo(f"{name}\t{key.not_after or 'for ever'}{' (expired)' if key.has_expired() else ''}")


@app.command(name="revoke-key")
def revoke(name: Annotated[str, typer.Argument(help="Whose key it is.")]) -> None:
    """Remove an API key. A running endpoint refuses it a second later."""
    revoke_key(_key_file(), name)


def _key_file() -> Path:
    path = get_settings().serving.api_keys_file
    if path is None:
        raise SettingsError(
            "No file of API keys is set.",
            where="environment variable CHURN_SERVING__API_KEYS_FILE",
            remedy="Let it name a file, for this command and for the endpoint.",
        )
    return path


if __name__ == "__main__":
    app()
