"""The root of every error that Churnflow raises on purpose."""

from __future__ import annotations


class ChurnflowError(Exception):
    """A refusal that explains itself: what is wrong, where, and what to do about it.

    Args:
        what: The fact, in one sentence, without personal data.
        where: The file, table, key or address concerned.
        remedy: What the reader can do next.

    Examples:
        >>> str(ChurnflowError("The file is empty.", where="sales/2017-01-01.csv", remedy="Deliver it again."))
        'The file is empty. Where: sales/2017-01-01.csv. Remedy: Deliver it again.'
    """

    def __init__(self, what: str, *, where: str, remedy: str) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(f"{what} Where: {where}. Remedy: {remedy}")

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments need this to survive a trip between processes.
        return (_rebuild, (type(self), self.what, self.where, self.remedy))


def _rebuild(kind: type[ChurnflowError], what: str, where: str, remedy: str) -> ChurnflowError:
    return kind(what, where=where, remedy=remedy)
