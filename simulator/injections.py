"""What can be made to go wrong, or to change, from a given day on."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import Field, ValidationError

from include.days import parse_day
from include.errors import ChurnflowError
from include.projects.base import Config

Kind = Literal[
    "covariate_shift",
    "missing_values",
    "column_renamed",
    "column_added",
    "column_retyped",
    "late_events",
    "duplicate_events",
    "changed_concept",
    "dead_source",
]


class InjectionError(ChurnflowError):
    """A text that is not an injection."""


class Injection(Config):
    """One change of the world or of its deliveries, from ``from_day`` on.

    ``covariate_shift`` and ``changed_concept`` change the world, and the true probabilities with it; the others only
    change what is delivered.

    Attributes:
        kind: ``covariate_shift``: sessions become more frequent by ``strength``, and shorter. ``missing_values``: the
            duration of a session, the method of a transaction and the age of a customer are empty with probability
            ``strength``. ``column_renamed``: ``duration_s`` of sessions is called ``duration_seconds``.
            ``column_added``: sessions have ``app_version``. ``column_retyped``: ``duration_s`` comes as a text with
            its unit. ``late_events``: that share of sessions and transactions comes with the file of three days later.
            ``duplicate_events``: that share comes twice in its file, and as much again with the next day's file.
            ``changed_concept``: the hazard is another function; ``strength`` says how far. ``dead_source``: no more
            files of support tickets.
        from_day: The first day concerned.
        strength: How much, 0..1.
    """

    kind: Kind
    from_day: dt.date
    strength: float = Field(default=0.2, gt=0, le=1)


def parse_injection(text: str) -> Injection:
    """Return the injection that ``text`` (``kind:day`` or ``kind:day:strength``) names.

    Raises:
        ChurnflowError: The kind, day or strength cannot be used.

    Examples:
        >>> parse_injection("late_events:2024-06-01:0.1").strength
        0.1
    """
    kind, _, rest = text.partition(":")
    day, _, strength = rest.partition(":")
    given = {"strength": strength} if strength else {}
    try:
        return Injection.model_validate({"kind": kind, "from_day": parse_day(day), **given})
    except ValidationError as error:
        raise InjectionError(
            f"{text!r} is not an injection: {error.errors()[0]['msg']}.",
            where="option --inject",
            remedy="Write it as kind:day or kind:day:strength, such as late_events:2024-06-01:0.1.",
        ) from error


def strength_of(injections: tuple[Injection, ...], kind: Kind, day: dt.date) -> float:
    """Return the strength of the latest injection of ``kind`` in force on ``day``; 0 when there is none."""
    found = [item for item in injections if item.kind == kind and item.from_day <= day]
    return max(found, key=lambda item: item.from_day).strength if found else 0.0
