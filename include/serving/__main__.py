"""``python -m include.serving``: run the endpoint, request a sample prediction, end the shadow, and manage API keys."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated

import typer

from include.command_line import CommandLine
from include.logs import configure_json_logs
from include.serving.deployment.bento_store import load_model
from include.serving.deployment.client import EndpointClient, bundled_samples
from include.serving.deployment.rollout import end_shadow
from include.serving.deployment.runner import run as run_endpoint
from include.serving.deployment.state import open_state
from include.serving.endpoint.keys import add_key, read_keys, revoke_key
from include.settings import SettingsError, get_settings

app = CommandLine()


@app.command()
def run() -> None:
    """Serve the deployed model until SIGTERM or SIGINT; while no model is deployed, wait."""
    configure_json_logs()
    run_endpoint(get_settings())


@app.command()
def predict_sample() -> None:
    """Request a prediction for a customer that training recorded, and print it as JSON."""
    settings = get_settings()
    reference = open_state(settings).served()
    if reference is None:
        raise typer.BadParameter("no model is deployed yet")
    client = EndpointClient(settings.serving.url, settings.serving.api_key)
    try:
        answer = client.predict("sample-0", bundled_samples(load_model(reference, settings))[0].features)
    finally:
        client.close()
    typer.echo(json.dumps(answer))


@app.command(name="end-shadow")
def end() -> None:
    """End the shadow, and print the Bento that was the shadow."""
    shadow = end_shadow(get_settings())
    typer.echo(shadow.bento if shadow else "There is no shadow.")


@app.command()
def new_key(
    name: Annotated[str, typer.Argument(help="The name of the client.")],
    expires: Annotated[
        dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The last day of the key, in UTC.")
    ] = None,
) -> None:
    """Create an API key and print it; only its hash is stored. A running endpoint accepts the key within a second."""
    typer.echo(add_key(_key_file(), name, expires.date() if expires else None))


@app.command()
def list_keys() -> None:
    """Print the names of the API keys and their last days."""
    for name, key in sorted(read_keys(_key_file()).items()):
        typer.echo(f"{name}\t{key.not_after or 'for ever'}{' (expired)' if key.has_expired() else ''}")


@app.command(name="revoke-key")
def revoke(name: Annotated[str, typer.Argument(help="The name of the client.")]) -> None:
    """Remove an API key. A running endpoint rejects the key within a second."""
    revoke_key(_key_file(), name)


def _key_file() -> Path:
    path = get_settings().serving.api_keys_file
    if path is None:
        raise SettingsError(
            "No file of API keys is set.",
            where="environment variable CHURN_SERVING__API_KEYS_FILE",
            remedy="Set it to the path of a file, for this command and for the endpoint.",
        )
    return path


if __name__ == "__main__":
    app()
