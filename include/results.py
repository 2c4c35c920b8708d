"""What a step reports: counts and references, never data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class StepResult:
    """What one step did to one table.

    Attributes:
        table: The table written.
        rows_read: Rows that came in.
        rows_refused: Rows sent to quarantine.
        rows_written: Rows in the partitions replaced.
        version: The Delta version after the write.
        seconds: Wall time.
        detail: Further references, such as a report's path.
    """

    table: str
    rows_read: int
    rows_refused: int
    rows_written: int
    version: int
    seconds: float
    detail: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types, fit for XCom."""
        return asdict(self)
