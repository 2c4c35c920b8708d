"""The label: what counts as churn, and within how many days."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from include.projects.base import Config


class NoEventLabel(Config):
    """Churn without a contract: no event of ``source`` in ``(D, D + horizon_days]``."""

    name: str = "churned"
    description: str
    kind: Literal["no_event"]
    source: str
    horizon_days: int = Field(ge=1)


class BecomesLabel(Config):
    """Churn by contract: in ``(D, D + horizon_days]`` the customer's ``column`` in ``source`` becomes ``value``."""

    name: str = "churned"
    description: str
    kind: Literal["becomes"]
    source: str
    column: str
    value: str
    horizon_days: int = Field(ge=1)


class ColumnLabel(Config):
    """A table without time: ``column`` of the customer's row in ``source`` says who churned, by being ``value``.

    Nothing is known of before and after, so such a project is judged by stratified cross-validation, and its rows are
    all those of one delivery.
    """

    name: str = "churned"
    description: str
    kind: Literal["column"]
    source: str
    column: str
    value: str

    @property
    def horizon_days(self) -> int:
        """Zero: the label is known with the row."""
        return 0


Label = Annotated[NoEventLabel | BecomesLabel | ColumnLabel, Field(discriminator="kind")]
