"""Evidently's page of a monitored day."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from include.monitoring.drift_report import write_evidently
from tests.monitoring.test_drift import AMOUNT, SEGMENT


def named(name: str):  # type: ignore[no-untyped-def]
    return AMOUNT.model_copy(update={"name": name})


@pytest.mark.slow
def test_columns_that_evidently_cannot_draw_are_left_out(tmp_path: Path) -> None:
    rows = 300
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "amount": rng.normal(size=rows),
            "flag": rng.random(rows) < 0.5,
            "constant": 5.0,
            "empty": np.nan,
            "whole": pd.array([1, None, 3] * 100, dtype="Int64"),
            "endless": [np.inf, *rng.normal(size=rows - 1)],
            "segment": rng.choice(["a", "b", None], rows),
        }
    )
    current = frame.assign(sparse=[1.0] + [np.nan] * (rows - 1)).drop(columns="whole")
    names = ["flag", "constant", "empty", "whole", "endless", "sparse"]
    specs = [AMOUNT, SEGMENT, *(named(name) for name in names)]
    left_out = write_evidently(frame.assign(sparse=1.0), current, specs, 250, tmp_path)
    assert {"empty", "whole"} <= set(left_out)
    assert not {"amount", "segment", "flag", "constant", "endless"} & set(left_out)
    page = (tmp_path / "evidently.html").read_text()
    assert "amount" in page
    assert [path.name for path in tmp_path.iterdir()] == ["evidently.html"]


def test_no_page_without_drawable_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame({"amount": [np.nan]})
    assert write_evidently(frame, frame, [AMOUNT], 250, tmp_path) == ["amount"]
    assert list(tmp_path.iterdir()) == []
