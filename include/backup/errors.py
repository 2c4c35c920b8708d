"""The errors of backups and restores."""

from __future__ import annotations

from include.errors import ChurnflowError


class BackupError(ChurnflowError):
    """A backup cannot be made or restored; the deployment is unchanged."""


class DamagedBackupError(BackupError):
    """A file of the backup is missing or differs from its checksum, or the backup has a file too many."""


class NotEmptyError(BackupError):
    """The deployment to restore contains data."""


class DatabaseError(BackupError):
    """A database cannot be dumped or loaded."""
