"""What can be wrong with a source. Each error names the file or table, and leaves the lake as it was."""

from __future__ import annotations

from include.errors import ChurnflowError


class SourceConnectionError(ChurnflowError):
    """An address or a connection that cannot be reached as it is configured."""


class MissingFileError(ChurnflowError):
    """A file that should have been delivered was not."""


class EmptyFileError(ChurnflowError):
    """A delivered file holds nothing at all, not even its columns."""


class NoRowsError(ChurnflowError):
    """A delivery has columns but no row, and the source does not allow that."""


class UnreadableFileError(ChurnflowError):
    """A delivered file may not be opened, or its storage does not answer."""


class CorruptFileError(ChurnflowError):
    """A delivered file cannot be read as what it claims to be."""


class TooLargeError(ChurnflowError):
    """More was asked for at once than memory holds."""


class ColumnError(ChurnflowError):
    """A delivery lacks a declared column."""


class DatabaseError(ChurnflowError):
    """A database answers, but not with what was asked for: a table, a column or a permission is missing."""


class ConnectionLostError(ChurnflowError):
    """A database cannot be reached, or stopped answering; trying again may help."""


class SchemaChangeError(ColumnError):
    """A source's schema is not that of the audit before, and data of before and after cannot be read alike."""
