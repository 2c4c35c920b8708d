"""Evidently's page of a monitored day."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from include.monitoring.drift import detect_drift
from include.monitoring.drift_report import write_evidently
from include.projects.monitoring import DriftLimits
from include.training.evaluation.change import Values, describe
from include.training.model.reference_profile import ReferenceProfile

LIMITS = DriftLimits(min_influence=0)
KINDS = {"segment": "category"}


def write(reference: pa.Table, current: pa.Table, folder: Path) -> list[str]:
    columns = {name: Values.of_column(reference[name], KINDS.get(name, "number")) for name in reference.column_names}
    features = {name: describe(values) for name, values in columns.items()}
    profile = ReferenceProfile(days=(), rows=reference.num_rows, pairs=0, features=features)
    found = detect_drift(profile, current, LIMITS)
    return write_evidently(reference, current, profile, found, LIMITS.multiplier, 250, folder)


@pytest.mark.slow
def test_page_shows_the_verdicts_of_the_profile_for_columns_with_values(tmp_path: Path) -> None:
    rows = 300
    rng = np.random.default_rng(1)
    reference = pa.table(
        {
            "amount": rng.normal(size=rows),
            "flag": rng.random(rows) < 0.5,
            "constant": np.full(rows, 5.0),
            "empty": pa.nulls(rows, pa.float64()),
            "whole": pa.array([1, None, 3] * 100),
            "endless": [np.inf, *rng.normal(size=rows - 1)],
            "segment": pa.array(rng.choice(["a", "b", None], rows)),
        }
    )
    moved = pa.array(np.asarray(reference["amount"]) + 9)
    current = reference.set_column(0, "amount", moved).drop_columns("whole")
    assert set(write(reference, current, tmp_path)) == {"amount", "flag", "constant", "endless", "segment"}
    page = (tmp_path / "evidently.html").read_text()
    assert page.count("Not Detected") == 4
    assert page.count("Detected") == 5
    assert "Dataset Drift" not in page
    assert [path.name for path in tmp_path.iterdir()] == ["evidently.html"]


@pytest.mark.parametrize("amounts", [pa.nulls(30, pa.float64()), pa.array([1e16] * 30)])
def test_no_page_without_drawable_columns(amounts: pa.Array, tmp_path: Path) -> None:
    rows = pa.table({"amount": amounts})
    assert write(rows, rows, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_page_with_the_same_inputs_is_copied_and_another_one_is_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    reference, current, other = (pa.table({"amount": rng.normal(size=300)}) for _ in range(3))
    first, second, third = (tmp_path / day / "evidently.html" for day in ("2024-01-07", "2024-01-08", "2024-01-14"))
    write(reference, current, first.parent)
    content = first.read_bytes()
    checksum = content.splitlines()[-1]
    first.write_bytes(b"drawn before\n" + checksum + b"\n")
    write(reference, current, second.parent)
    assert second.read_bytes() == first.read_bytes()
    write(reference, other, third.parent)
    assert len(third.read_bytes()) > len(content) / 2
    assert third.read_bytes().splitlines()[-1] != checksum
