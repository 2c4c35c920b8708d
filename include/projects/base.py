"""The base of all project configuration: unknown keys are errors, and nothing changes after loading."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A strict, frozen piece of configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)
