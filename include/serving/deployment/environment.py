"""The environment of the processes that build and serve Bentos: they import the Bento's code, and nothing of ours."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import SecretStr
from pydantic_core import to_jsonable_python

from include.serving.deployment.pointer import BentoReference
from include.settings import Settings

HOME_VARIABLE = "BENTOML_HOME"
_SERVING_VARIABLE = "CHURN_SERVING"
_SHADOW_VARIABLES = ("CHURN_SHADOW_BUNDLE", "CHURN_SHADOW_VERSION")


def bentoml_environment(home: Path) -> dict[str, str]:
    """Return the environment of a BentoML process that keeps its files under ``home`` and imports only its Bento."""
    home.mkdir(parents=True, exist_ok=True)
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return inherited | {
        HOME_VARIABLE: str(home),
        "BENTOML_DO_NOT_TRACK": "true",
        "OMP_NUM_THREADS": "1",
    }


def server_environment(settings: Settings, home: Path, shadow: BentoReference | None = None) -> dict[str, str]:
    """Return the environment of a server: all that this process's ``settings`` say about serving, and nothing else.

    ``CHURN_SERVING`` holds the whole group as JSON, secrets readable, and takes the place of every single variable. A
    Bento may be older than this code and refuse a setting that it does not know, so that defaults are left out.
    """
    others = {
        key: value
        for key, value in bentoml_environment(home).items()
        if not key.startswith(_SERVING_VARIABLE) and key not in _SHADOW_VARIABLES
    }
    shadowed = (
        {} if shadow is None else dict(zip(_SHADOW_VARIABLES, (str(shadow.bundle), shadow.model_version), strict=True))
    )
    serving = settings.serving.model_dump(exclude_defaults=True)
    return others | {
        "CHURN_HOME": str(settings.home),
        "CHURN_PROJECT": settings.project,
        "CHURN_LAKE_URI": settings.lake_uri,
        "CHURN_SERVING_DIR": str(settings.serving_dir.absolute()),
        _SERVING_VARIABLE: json.dumps(serving, default=_readable),
        **shadowed,
    }


def _readable(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else to_jsonable_python(value)
