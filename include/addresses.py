"""Addresses without credentials, for settings whose values appear in messages, logs, records and manifests."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator

# The parameters of PostgreSQL that name files, such as sslkey, are no secrets.
_SECRET_PARAMETER = re.compile(r"pass|pwd|token|secret|sig|cred|auth|(?<!ssl)key", re.IGNORECASE)


def without_credentials(address: str) -> str:
    """Return ``address``, which may also be a path.

    Args:
        address: The address.

    Raises:
        ValueError: The address contains a user, a password or a token. The message does not contain the address.

    Examples:
        >>> without_credentials("s3://lake/churn")
        's3://lake/churn'
        >>> without_credentials("https://user:password@mlflow.example.org")
        Traceback (most recent call last):
        ...
        ValueError: an address that appears in messages, records and manifests must not contain credentials...
    """
    if "://" not in address:
        return address
    scheme, _, rest = address.partition("://")
    if _has_credentials(rest):
        raise ValueError(
            "an address that appears in messages, records and manifests must not contain credentials: remove the user, "
            f"the password and the token, and set {_remedy(scheme)}"
        )
    return address


def _has_credentials(rest: str) -> bool:
    try:
        parts = urlsplit(f"//{rest}")
        _ = parts.port  # raises for a password with a slash, user:pass/word@host
    except ValueError:
        return True
    names = [name for name, _ in parse_qsl(f"{parts.query}&{parts.fragment}", keep_blank_values=True)]
    return "@" in parts.netloc or any(map(_SECRET_PARAMETER.search, names))


def _remedy(scheme: str) -> str:
    if scheme.startswith("http"):
        return "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, for MLflow"
    if scheme.startswith(("postgres", "mysql")):
        return "PGUSER and PGPASSWORD, or PGPASSFILE, for PostgreSQL"
    return "the variables of the library, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


Address = Annotated[str, AfterValidator(without_credentials)]
"""A path, or an address without credentials."""
