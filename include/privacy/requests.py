"""Requests for erasures: files that contain an id, which are deleted when the proof of the erasure is complete.

A DAG run cannot have the id as a parameter, because Airflow stores the parameters of a run in its database and shows
them.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path

from include.errors import ChurnflowError
from include.local_files import PRIVATE, write_atomically
from include.plurals import counted
from include.privacy.erase import erase
from include.privacy.proof import privacy_folder
from include.settings import Settings


class IncompleteErasureError(ChurnflowError):
    """Data of a customer may remain; the request is kept."""


def register(settings: Settings, customer_id: str) -> Path:
    """Write a request, readable by this user only, and return its file.

    Args:
        settings: The home folder and the project.
        customer_id: The id.
    """
    folder = requests_folder(settings)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The same customer gives the same file. The name is no secret beside the content.
    path = folder / f"{hashlib.sha256(customer_id.encode(errors='surrogatepass')).hexdigest()[:16]}.txt"
    write_atomically(path, customer_id.encode(errors="surrogatepass"), PRIVATE)
    return path


def erase_requested(settings: Settings, at: dt.datetime) -> list[str]:
    """Erase all customers with a request, and return the files of the proofs. A request is deleted after its proof.

    Args:
        settings: The deployment.
        at: The time, with a time zone.

    Raises:
        PrivacyKeyError: A key is missing; nothing is erased.
        IncompleteErasureError: Data of some customers may remain; their requests are kept, and all others were handled.
    """
    proofs, incomplete = [], []
    for path in sorted(requests_folder(settings).glob("*.txt")):
        erasure, proof = erase(settings, path.read_bytes().decode(errors="surrogatepass").strip(), at)
        proofs.append(str(proof))
        if erasure.finished:
            path.unlink()
        else:
            incomplete.append(str(proof))
    if incomplete:
        raise IncompleteErasureError(
            f"Data of {counted(len(incomplete), 'customer')} may remain.",
            where=", ".join(incomplete),
            remedy="See the places under 'left', remove the cause, and run the erasure again.",
        )
    return proofs


def requests_folder(settings: Settings) -> Path:
    """Return the folder of the requests."""
    return privacy_folder(settings) / "requests"
