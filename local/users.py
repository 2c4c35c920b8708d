"""The users of Airflow on the local stack, and their passwords."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, StringConstraints
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from include.local_files import PRIVATE, write_atomically

ADMIN = "admin"
_ROLES = {"viewer": "viewer", "operator": "op", "admin": "admin"}
"""The name of each role in Airflow's simple auth manager."""


def _parse(users: object) -> object:
    if not isinstance(users, str):
        return users
    return {name.strip(): role.strip() for name, _, role in (item.partition(":") for item in users.split(",") if item)}


Role = Literal["viewer", "operator", "admin"]
UserName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$")]


class LocalUsers(BaseSettings):
    """The users of Airflow, from ``CHURN_LOCAL_USERS``.

    Attributes:
        users: The roles of the users: ``eva:viewer,ali:operator``. The user ``admin`` always exists then. Without
            users, Airflow needs no password, and every visitor has the rights of an administrator.
    """

    model_config = SettingsConfigDict(env_prefix="CHURN_LOCAL_", frozen=True)

    users: Annotated[dict[UserName, Role], NoDecode, BeforeValidator(_parse)] = {}

    def options(self, folder: Path) -> dict[str, str]:
        """Return the options of Airflow's section ``core``, and create the missing passwords.

        Args:
            folder: The folder of the file of passwords.
        """
        if not self.users:
            return {"SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True"}  # the UI listens on 127.0.0.1 only
        users = {**self.users, ADMIN: "admin"}
        path = _passwords_file(folder)
        stored = _passwords(folder)
        # Airflow would print the passwords that it creates to its log.
        write_atomically(path, json.dumps({name: secrets.token_urlsafe(16) for name in users} | stored), PRIVATE)
        return {
            "SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{_ROLES[role]}" for name, role in users.items()),
            "SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(path),
        }

    def admin_password(self, folder: Path) -> str | None:
        """Return the password of the user ``admin``; None if Airflow needs no password.

        Args:
            folder: The folder of the file of passwords.
        """
        return _passwords(folder)[ADMIN] if self.users else None


def _passwords_file(folder: Path) -> Path:
    return folder / "passwords.json"


def _passwords(folder: Path) -> dict[str, str]:
    path = _passwords_file(folder)
    stored: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return stored
