"""The name of a version of raw data, as a data set and a training run carry it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

RAW_FOLDER = "bronze"
POINTER_FILE = f"{RAW_FOLDER}.dvc"


class DataVersion(BaseModel):
    """The raw data of a project through a day, as DVC keeps it.

    Attributes:
        revision: The checksum of the whole: equal for equal raw data.
        remote: Where its files are kept: a folder or an object-store address, without credentials.
        files: How many files it has.
        bytes: Their size together.
        tables: The Delta version of every bronze table read.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    revision: str = Field(pattern=r"^[0-9a-f]{32}$")
    remote: str
    files: int
    bytes: int
    tables: dict[str, int]

    @property
    def pointer(self) -> str:
        """The content of the file ``bronze.dvc``, with which ``dvc pull`` fetches this version."""
        return pointer(self.revision)


def pointer(revision: str) -> str:
    """Return the content of the file ``bronze.dvc`` for ``revision``."""
    return f"outs:\n- md5: {revision}.dir\n  hash: md5\n  path: {RAW_FOLDER}\n"
