"""Erase the customers whose erasure was requested."""

from __future__ import annotations

from airflow.sdk import dag, task

from dags.wiring.defaults import common
from include.settings import get_settings

DOC = """
### Erase customers

Erases every customer with a request from everything that this deployment stores: landing files, the lake with its
earlier versions, the online store, the prediction log, data sets and the versions of raw data. Register a request on
the machine of the deployment:

    python -m include.privacy request --customer ID

The run has no parameter for the id, because Airflow stores the parameters of a run in its database and shows them. A
request is a file in `<home>/privacy/<project>/requests`, which only its owner can read. It is deleted when its proof in
`<home>/privacy/<project>/erasures` is complete. The proof and the logs do not contain the id.

A run that reads a table at this moment can fail; Airflow repeats it. No training should run. See `docs/privacy.md`.

Manual runs only.
"""


@dag(
    dag_id="churn_erase",
    dag_display_name="9 · Erase",
    description="Manual: erase the customers whose erasure was requested.",
    doc_md=DOC,
    schedule=None,
    **common("privacy"),
)
def churn_erase() -> None:
    @task
    def erase_customers() -> list[str]:
        """Erase every customer with a request; return the files of the proofs."""
        import datetime as dt

        from include.privacy.requests import erase_requested

        return erase_requested(get_settings(), dt.datetime.now(dt.UTC))

    erase_customers()


churn_erase()
