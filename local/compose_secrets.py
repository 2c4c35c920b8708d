"""``python -m local.compose_secrets``: write the missing values of ``.env`` for ``docker-compose.yaml``.

Each variable of ``.env.example`` without a value gets a random secret. Existing values stay, since databases already
use them.
"""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

from dotenv import dotenv_values

from include.local_files import PRIVATE, write_atomically
from include.settings import ROOT

FERNET_KEY, LANDING = "AIRFLOW_FERNET_KEY", "CHURN_LANDING_DIR"


def complete(example: Path, target: Path, landing: Path) -> list[str]:
    """Write the missing variables to ``target``, readable by its owner only, and return their names.

    Args:
        example: The file of all variables; those without a value are secrets, and the folder of the source files.
        target: The file to complete; it need not exist.
        landing: The folder of the source files, if ``target`` names none; it is created.
    """
    present = {name: value for name, value in dotenv_values(target).items() if value}
    added, lines = [], []
    for line in example.read_text().splitlines():
        name, separator, default = line.partition("=")
        if separator and not line.startswith("#") and name in present:
            line = f"{name}={present[name]}"
        elif separator and not line.startswith("#") and not default and name in required(example):
            added.append(name)
            line = f"{name}={_value(name, landing)}"
        lines.append(line)
    write_atomically(target, "\n".join(lines) + "\n", PRIVATE)
    return added


def required(example: Path) -> list[str]:
    """Return the names of the variables that have no usable default.

    Args:
        example: The file of all variables.
    """
    first = example.read_text().partition("# These have usable defaults.")[0]
    return [line.partition("=")[0] for line in first.splitlines() if line and not line.startswith("#")]


def _value(name: str, landing: Path) -> str:
    if name == LANDING:
        landing.mkdir(parents=True, exist_ok=True)
        return str(landing)
    if name == FERNET_KEY:
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_hex(24)


if __name__ == "__main__":
    added = complete(ROOT / ".env.example", ROOT / ".env", ROOT / "var" / "landing")
    print(f"Written to .env: {', '.join(added)}." if added else "All variables of .env have a value.")
