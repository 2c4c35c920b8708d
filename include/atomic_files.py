"""Small files that readers see wholly or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

READABLE = 0o644
PRIVATE = 0o600


def write_whole(path: Path, content: str | bytes, mode: int = READABLE) -> None:
    """Write ``content`` to ``path``: a reader sees the file that was there before or the whole new one.

    Args:
        path: The file; its folder is made where it is missing.
        content: What it holds; text is written in UTF-8.
        mode: Who may read it.

    Raises:
        OSError: It cannot be written, and the file that was there before is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    partial = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(mode)
        partial.replace(path)
    except OSError:
        partial.unlink()
        raise
