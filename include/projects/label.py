"""``label.yaml``: the definition of churn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from include.projects.yaml_files import Config


class NoEventLabel(Config):
    """Churn without a contract: the customer has no event of ``source`` in ``(D, D + horizon_days]``."""

    name: str = "churned"
    description: str
    kind: Literal["no_event"]
    source: str
    horizon_days: int = Field(ge=1)


class BecomesLabel(Config):
    """Churn by contract: the customer's ``column`` in ``source`` becomes ``value`` in ``(D, D + horizon_days]``."""

    name: str = "churned"
    description: str
    kind: Literal["becomes"]
    source: str
    column: str
    value: str
    horizon_days: int = Field(ge=1)


class ColumnLabel(Config):
    """A table without time: the customer has churned if ``column`` of its row in ``source`` is ``value``.

    The customer has not churned if ``column`` is one of ``other_values``, by default the only other value of the
    delivery, which must then contain ``value``, too. Other customers get no label.

    The rows have no order in time, so the project is evaluated by stratified cross-validation over one delivery.
    """

    name: str = "churned"
    description: str
    kind: Literal["column"]
    source: str
    column: str
    value: str
    other_values: list[str] | None = Field(default=None, min_length=1)

    @property
    def horizon_days(self) -> int:
        """Zero, since the label is part of the row."""
        return 0


Label = Annotated[NoEventLabel | BecomesLabel | ColumnLabel, Field(discriminator="kind")]
