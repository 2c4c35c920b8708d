"""Whether this machine has a GPU, as the system tells it, not the library under test."""

from __future__ import annotations

from pathlib import Path

HAS_GPU = Path("/dev/nvidia0").exists()
