"""The base class of all errors that Churnflow raises."""

from __future__ import annotations

from typing import ClassVar


class ChurnflowError(Exception):
    """An error with its cause, its location and a remedy.

    Args:
        what: The cause, in one sentence, without personal data.
        where: The file, table, key or address.
        remedy: The action that solves the problem.

    Attributes:
        can_retry: Whether the same step can succeed later without a change to data, configuration or arguments, for
            example when a server answers again. The value is the same for all errors of a class.

    Examples:
        >>> str(ChurnflowError("The file is empty.", where="sales/2017-01-01.csv", remedy="Deliver it again."))
        'The file is empty. Where: sales/2017-01-01.csv. Remedy: Deliver it again.'
    """

    can_retry: ClassVar[bool] = False

    def __init__(self, what: str, *, where: str, remedy: str) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(f"{what} Where: {where}. Remedy: {remedy}")

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments cannot be pickled by default.
        return (_rebuild, (type(self), self.what, self.where, self.remedy))


def _rebuild(kind: type[ChurnflowError], what: str, where: str, remedy: str) -> ChurnflowError:
    return kind(what, where=where, remedy=remedy)
