"""What an aggregation is made of: measures taken within a band, put together over bands, and its value from those."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import ibis
import ibis.expr.datatypes as dt
from ibis.expr.types import NumericValue, Table, Value

from include.features.bands import AGE, BAND, BIT
from include.projects.features import Aggregate, Share

Kind = Literal["rows", "days", "known", "sum", "squares", "min", "max", "youngest", "oldest", "gap", "values"]
_KINDS: dict[str, tuple[Kind, ...]] = {
    "count": ("rows",),
    "sum": ("sum",),
    "mean": ("sum", "known"),
    "min": ("min",),
    "max": ("max",),
    "std": ("sum", "known", "squares"),
    "days_since_last": ("youngest",),
    "days_since_first": ("oldest",),
    "active_days": ("days",),
    "mean_gap_days": ("days", "youngest", "oldest"),
    "max_gap_days": ("gap",),
}
_MERGED_BY = {"min": "min", "youngest": "min", "max": "max", "oldest": "max", "gap": "max", "values": "bit_or"}
_EXACT = "decimal(38, 8)"
GAP = "_gap"
"""Days from an active day to the customer's next one; null on the youngest."""


@ibis.udf.scalar.builtin(name="bit_count")  # type: ignore[untyped-decorator]
def _bits(number: dt.int64) -> dt.int64:
    """Return how many bits of the number are set; DuckDB and Spark call it alike."""


@dataclass(frozen=True)
class Measure:
    """A number taken of a customer's rows within a band.

    Attributes:
        kind: ``rows`` counted; ``days`` with a row; of a column its values ``known``, their ``sum``, sum of
            ``squares``, ``min``, ``max``, or its different ``values`` as bits of a number; age of the ``youngest`` and
            ``oldest`` row; largest ``gap`` between days.
        column: The column, where the kind takes one.
        where: The boolean column that says which rows count; all when None.
    """

    kind: Kind
    column: str | None = None
    where: str | None = None

    @property
    def name(self) -> str:
        """The measure's column."""
        return f"{self.kind}:{self.column or ''}:{self.where or ''}"

    def of(self, rows: Table) -> NumericValue:
        """Return the measure as an aggregate of ``rows``."""
        where = rows[self.where] if self.where else None
        match self.kind:
            case "rows":
                return rows.count(where=where)
            case "days":
                return _bits(rows[BIT].bit_or(where=where))
            case "youngest":
                return rows[AGE].min(where=where)
            case "oldest":
                return rows[AGE].max(where=where)
            case "gap":
                return rows[GAP].max(where=where)
            case "values":
                return rows[self.column].bit_or(where=where)
            case "known":
                return rows[self.column].count(where=where)
            case "squares":
                value = _exact(rows[self.column])
                return (value * value).sum(where=where)
            case _:
                return getattr(_number(rows[self.column]), self.kind)(where=where)

    def merged(self, bands: Table, last: int) -> NumericValue:
        """Return the measure over all bands up to ``last``, as an aggregate of rows of bands."""
        return getattr(bands[self.name], _MERGED_BY.get(self.kind, "sum"))(where=bands[BAND] <= last)


@dataclass(frozen=True)
class Term:
    """One aggregation over a window.

    Attributes:
        name: The feature.
        window: Its window in days.
        calculation: Its calculation.
        where: The boolean column that says which rows count, or fall on a share's value; None when all do.
        bits: The column that holds, as one bit of a number, which value is to be counted once; None when there are too
            many different ones.
    """

    name: str
    window: int
    calculation: Aggregate | Share
    where: str | None
    bits: str | None = None

    @property
    def pass_over(self) -> tuple[str, str, str]:
        """What it is aggregated over (rows, days, values), with the column and condition that this needs."""
        function, column, where = self.calculation.function, self.calculation.column or "", self.where or ""
        if function == "max_gap_days":
            return "days", "", where
        if function == "count_distinct" and not self.bits:
            return "values", column, where
        return "rows", "", ""

    def measures(self) -> list[Measure]:
        """Return what it needs of each band."""
        calculation = self.calculation
        if isinstance(calculation, Share):
            kind: Kind = "sum" if calculation.of else "rows"
            return [Measure(kind, calculation.of), Measure(kind, calculation.of, self.where)]
        if calculation.function == "count_distinct":
            return [Measure("values", self.bits, self.where)]
        # The rows of days are already those that count.
        where = None if calculation.function == "max_gap_days" else self.where
        return [Measure(kind, calculation.column, where) for kind in _KINDS[calculation.function]]

    def value(self, of: Callable[[Measure], NumericValue]) -> NumericValue:
        """Return the feature, a double, from its measures over the window."""
        found = [of(measure) for measure in self.measures()]
        numbers = [value.cast("float64") for value in found]
        match self.calculation.function:
            case "share":
                return numbers[1].fill_null(0.0) / numbers[0].nullif(0.0)
            case "mean":
                return numbers[0] / numbers[1].nullif(0.0)
            case "std":
                return _spread(*found)
            case "count_distinct":
                return _bits(found[0]).cast("float64")
            case "mean_gap_days":
                days, youngest, oldest = numbers
                return (oldest - youngest) / (days - 1).nullif(0.0)
            case _:
                return numbers[0]


def _number(column: Value) -> NumericValue:
    return column.cast("int64") if column.type().is_boolean() else column


def _exact(column: Value) -> NumericValue:
    # Wide enough that the product of two is exact, too.
    number = _number(column)
    return number.cast(f"decimal(38, {0 if number.type().is_integer() else number.type().scale})")


def _spread(total: NumericValue, known: NumericValue, squares: NumericValue) -> NumericValue:
    # Squares about zero lose their digits when values hardly differ. These are exact decimals, so that they can be
    # moved to squares about the rounded mean without loss: sum (x - m)^2 = sum x^2 - 2 m sum x + n m^2.
    n = known.cast("float64")
    mean = total.cast("float64") / n.nullif(0.0)
    about = mean.round(4).cast("decimal(38, 4)")
    twice = (about * total.cast("decimal(38, 4)")).cast(_EXACT) * 2
    square = (about * about).cast(_EXACT) * known.cast("decimal(38, 0)")
    shifted = (squares.cast(_EXACT) - twice.cast(_EXACT) + square.cast(_EXACT)).cast("float64")
    rest = mean - about.cast("float64")
    variance = (shifted - n * rest * rest) / (n - 1).nullif(0.0)
    return variance.clip(lower=0.0).sqrt()
