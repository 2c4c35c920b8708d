"""Errors of sources. Each error states the file or table; its delivery is not loaded."""

from __future__ import annotations

from include.errors import ChurnflowError


class SourceConnectionError(ChurnflowError):
    """An address or connection of a source is wrong."""


class UnreachableStorageError(SourceConnectionError):
    """The storage of a source does not answer."""

    can_retry = True


class MissingFileError(ChurnflowError):
    """An expected file was not delivered."""


class EmptyFileError(ChurnflowError):
    """A delivered file has no content, not even a header."""


class NoRowsError(ChurnflowError):
    """A delivery has columns but no rows, and the source does not allow that."""


class UnreadableFileError(ChurnflowError):
    """A delivered file cannot be opened."""


class InterruptedReadError(UnreadableFileError):
    """The storage of a delivered file does not answer."""

    can_retry = True


class CorruptFileError(ChurnflowError):
    """A delivered file cannot be parsed in its declared format."""


class TooLargeError(ChurnflowError):
    """The requested files do not fit into memory together."""


class ColumnError(ChurnflowError):
    """A delivery lacks a declared column."""


class DatabaseError(ChurnflowError):
    """A database lacks the requested table, column or permission."""


class ConnectionLostError(ChurnflowError):
    """A database cannot be reached or closed the connection."""

    can_retry = True


class SchemaChangeError(ColumnError):
    """The schema of a source has changed incompatibly since the previous audit."""
