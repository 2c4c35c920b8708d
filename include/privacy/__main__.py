"""``python -m include.privacy``: erase a customer, or request the erasure for the DAG ``churn_erase``.

The last line of standard output of every command is one JSON object. No output contains the id.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Annotated

import typer

from include.command_line import CommandLine
from include.logs import configure_json_logs
from include.settings import get_settings

app = CommandLine(help="The erasure of a customer.")

CustomerId = Annotated[str, typer.Option("--customer", help="The id of the customer.")]


@app.command()
def erase(
    customer: CustomerId,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the data; nothing is changed.")] = False,
) -> None:
    """Erase a customer from everything that this deployment stores; exit with 1 if some data may remain."""
    from include.privacy.erase import erase as erase_customer

    erasure, proof = erase_customer(get_settings(), customer, dt.datetime.now(dt.UTC), dry_run=dry_run)
    typer.echo(json.dumps({"proof": None if dry_run else str(proof), **erasure.as_dict()}))
    if erasure.left:
        raise typer.Exit(1)


@app.command()
def request(customer: CustomerId) -> None:
    """Register the erasure of a customer, which the next run of churn_erase carries out."""
    from include.privacy.requests import register

    typer.echo(json.dumps({"request": str(register(get_settings(), customer))}))


if __name__ == "__main__":
    configure_json_logs()
    app()
