"""Injections: faults of deliveries and changes of the world that start on a given day."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import Field, ValidationError

from include.days import parse_day
from include.errors import ChurnflowError
from include.projects.yaml_files import Config

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
    """The text is not a valid injection."""


class Injection(Config):
    """A change of the world or of its deliveries from ``from_day`` on.

    ``covariate_shift`` and ``changed_concept`` change the world and the true probabilities; the other kinds change only
    the deliveries.

    Attributes:
        kind: ``covariate_shift``: sessions become more frequent by ``strength``, and shorter. ``missing_values``: the
            duration of a session, the method of a transaction and the age of a customer are empty with probability
            ``strength``. ``column_renamed``: ``duration_s`` of sessions becomes ``duration_seconds``.
            ``column_added``: sessions get ``app_version``. ``column_retyped``: ``duration_s`` becomes text with a unit.
            ``late_events``: this share of sessions and transactions arrives in the file of three days later.
            ``duplicate_events``: this share occurs twice in its file, and the same number of rows occurs again in the
            next day's file. ``changed_concept``: the hazard function changes by ``strength``. ``dead_source``: no more
            files of support tickets are delivered.
        from_day: The first affected day.
        strength: The strength, 0..1.
    """

    kind: Kind
    from_day: dt.date
    strength: float = Field(default=0.2, gt=0, le=1)


def parse_injection(text: str) -> Injection:
    """Parse an injection, written ``kind:day`` or ``kind:day:strength``.

    Raises:
        ChurnflowError: The kind, day or strength is invalid.

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
    """Return the strength of the latest injection of a kind that is active on a day; 0 if none is active.

    Args:
        injections: The injections.
        kind: The kind.
        day: The day.
    """
    found = [item for item in injections if item.kind == kind and item.from_day <= day]
    return max(found, key=lambda item: item.from_day).strength if found else 0.0
