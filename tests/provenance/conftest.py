from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from include.provenance.signature import create_keys, sign
from include.provenance.statement import PROVENANCE_FILE, Provenance, checksums_of


@dataclass(frozen=True)
class Signed:
    """A folder that stands for a Bento, with its signed provenance, and the keys."""

    bento: Path
    provenance: Provenance
    private: Path
    public: Path


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    private, public, bento = tmp_path / "signing.pem", tmp_path / "public.pem", tmp_path / "bento"
    create_keys(private, public)
    (bento / "src").mkdir(parents=True)
    for name in ("bento.yaml", "src/model.ubj", "src/service.py"):
        (bento / name).write_text(f"the content of {name}")
    provenance = (
        Provenance("grocery", "run-1", "7")
        .with_link("data", {"revision": "d" * 32})
        .with_link("run", {"manifest.json": "1" * 64})
        .with_link("bundle", {"model.ubj": "2" * 64})
        .with_link("bento", checksums_of(bento))
    )
    (bento / PROVENANCE_FILE).write_text(sign(provenance.as_statement(), private))
    return Signed(bento, provenance, private, public)
