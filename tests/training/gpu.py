"""Whether this machine has a GPU, detected without the library under test."""

from __future__ import annotations

from pathlib import Path

HAS_GPU = Path("/dev/nvidia0").exists()
