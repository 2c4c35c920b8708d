"""The fenced code blocks of a document."""

from __future__ import annotations

import re

from include.settings import ROOT


def blocks(document: str, language: str) -> list[str]:
    """Return the blocks of ``docs/<document>`` in ``language``, in order."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
