"""Counts as text, with the noun in the right form."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a count and its noun, which gets a plural ``s`` unless the count is 1.

    Example:
        >>> counted(1, "row"), counted(1200, "row")
        ('1 row', '1,200 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
