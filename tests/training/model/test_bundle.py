from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost as xgb
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from include.lake.table_names import FEATURES_TABLE
from include.training.model.bundle import Bundle, BundleError, Sample
from include.training.model.calibrator import Calibrator
from include.training.model.contract import EncodingError, FeatureContract, ModelContract
from include.training.model.reference_profile import CategoryProfile, NumberProfile, ReferenceProfile, read_profile
from tests.training.contracts import contract_of

CALIBRATOR = Calibrator(method="logistic", slope=0.7, intercept=-0.4)
CATEGORIES = ("bronze", "silver", "None")
CONTRACT = contract_of(
    FeatureContract(name="spend", dtype="number", nullable=True),
    FeatureContract(name="visits", dtype="number", nullable=False, minimum=0),
    FeatureContract(name="tier", dtype="category", nullable=True, categories=CATEGORIES),
    threshold=0.4,
    tables={FEATURES_TABLE: 4},
)
PROFILE = ReferenceProfile(
    days=(CONTRACT.trained_through,),
    rows=200,
    pairs=2,
    features={
        "spend": NumberProfile(rows=200, edges=(0.1, 0.2), at_most=(90, 190), below=(0, 90), natural={"ks": 0.1}),
        "tier": CategoryProfile(rows=200, counts={"bronze": 120}, influence=0.2),
    },
)
FILES = ["model.ubj", "calibrator.json", "contract.json", "samples.json", "profile.json"]
NAMES = CONTRACT.feature_names

numbers = st.none() | st.floats(-1e30, 1e30)
tiers = st.none() | st.sampled_from(CATEGORIES)
rows = st.lists(st.tuples(numbers, numbers, tiers), min_size=1, max_size=8)


def columns_of(some_rows: list[tuple[float | None, float | None, str | None]]) -> dict[str, list[float | str | None]]:
    return {name: [row[position] for row in some_rows] for position, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    random = np.random.default_rng(5)
    columns = {
        "spend": random.normal(10, 3, 200),
        "visits": random.integers(0, 9, 200),
        "tier": random.choice(CATEGORIES, 200),
    }
    matrix = CONTRACT.encode(columns)
    booster = xgb.train({"objective": "binary:logistic", "nthread": 1}, xgb.DMatrix(matrix, label=matrix[:, 1] < 3), 5)
    probability = float(booster.inplace_predict(matrix[:1])[0])
    sample = Sample(
        features={"spend": columns["spend"][0], "visits": int(columns["visits"][0]), "tier": str(columns["tier"][0])},
        churn_probability=probability,
    )
    return Bundle(CONTRACT, booster, (sample,), CALIBRATOR, PROFILE.model_dump_json().encode())


class TestEncode:
    @given(rows=rows, order=st.permutations(NAMES))
    def test_ignores_column_order(
        self, rows: list[tuple[float | None, float | None, str | None]], order: list[str]
    ) -> None:
        columns = columns_of(rows)
        shuffled = {name: columns[name] for name in order}
        np.testing.assert_array_equal(CONTRACT.encode(shuffled), CONTRACT.encode(columns))

    @given(rows=rows)
    def test_rows_encode_like_columns(self, rows: list[tuple[float | None, float | None, str | None]]) -> None:
        np.testing.assert_array_equal(CONTRACT.encode_rows(rows), CONTRACT.encode(columns_of(rows)))

    def test_encodes_all_table_types_equally(self) -> None:
        columns = {"spend": [1.5, None, 3.0], "visits": [1, 2, 3], "tier": ["silver", "gold", None]}
        expected = np.array([[1.5, 1, 1], [np.nan, 2, np.nan], [3, 3, np.nan]], dtype=np.float32)
        assert CONTRACT.encode(columns).dtype == np.float32
        np.testing.assert_array_equal(CONTRACT.encode(columns), expected)
        np.testing.assert_array_equal(CONTRACT.encode(pa.table(columns)), expected)
        np.testing.assert_array_equal(CONTRACT.encode(pd.DataFrame(columns)), expected)

    def test_null_is_not_the_category_none(self) -> None:
        assert np.isnan(CONTRACT.encode_rows([(1.0, 1.0, None)])[0, 2])
        assert CONTRACT.encode_rows([(1.0, 1.0, "None")])[0, 2] == 2

    @pytest.mark.parametrize(
        ("columns", "named"),
        [
            ({"spend": [1], "tier": ["silver"]}, "visits"),
            ({"spend": [1], "visits": [1], "tier": ["silver"], "customer_id": ["a"]}, "customer_id"),
            ({"spend": ["1.5"], "visits": [1], "tier": ["silver"]}, "spend"),
            ({"spend": [1e39], "visits": [1], "tier": ["silver"]}, "spend"),
            ({"spend": [float("inf")], "visits": [1], "tier": ["silver"]}, "spend"),
            ({"spend": pd.to_datetime(["2017-01-01"]), "visits": [1], "tier": ["silver"]}, "spend"),
            ({"spend": [1, 2], "visits": [1], "tier": ["silver"]}, "length"),
        ],
    )
    def test_invalid_columns_are_named(self, columns: dict[str, object], named: str) -> None:
        with pytest.raises(EncodingError, match=named):
            CONTRACT.encode(columns)


class TestContract:
    def test_rejects_category_without_categories(self) -> None:
        with pytest.raises(ValidationError, match="categories"):
            FeatureContract(name="tier", dtype="category", nullable=True)

    def test_rejects_duplicate_feature_names(self) -> None:
        with pytest.raises(ValidationError, match="unique"):
            ModelContract.model_validate(CONTRACT.model_dump() | {"features": [CONTRACT.features[0].model_dump()] * 2})

    def test_threshold_is_inclusive(self) -> None:
        assert [CONTRACT.decide(p) for p in (0.39, 0.4, 0.41)] == ["retain", "churn", "churn"]


class TestBundle:
    def test_save_and_load_keep_predictions(self, bundle: Bundle, tmp_path: Path) -> None:
        bundle.save(tmp_path / "bundle")
        loaded = Bundle.load(tmp_path / "bundle")
        columns = {"spend": [1.0, None, 12.0], "visits": [0, 4, 8], "tier": ["silver", None, "bronze"]}
        assert loaded.contract == bundle.contract
        assert loaded.samples == bundle.samples
        assert loaded.calibrator == CALIBRATOR
        assert read_profile(loaded) == PROFILE
        np.testing.assert_array_equal(loaded.predict(columns), bundle.predict(columns))

    @given(rows=rows, order=st.permutations(NAMES))
    def test_ignores_column_order(
        self, bundle: Bundle, rows: list[tuple[float | None, float | None, str | None]], order: list[str]
    ) -> None:
        columns = columns_of(rows)
        shuffled = {name: columns[name] for name in order}
        np.testing.assert_array_equal(bundle.predict(shuffled), bundle.predict(columns))

    @given(rows=rows, changed=st.sampled_from(NAMES), added=st.booleans())
    def test_missing_or_unknown_column_is_named(
        self, bundle: Bundle, rows: list[tuple[float | None, float | None, str | None]], changed: str, added: bool
    ) -> None:
        columns = columns_of(rows)
        column = columns[changed] if added else columns.pop(changed)
        wrong = columns | {f"{changed}_again": column} if added else columns
        with pytest.raises(EncodingError, match=f"{changed}_again" if added else changed):
            bundle.predict(wrong)

    @given(rows=rows)
    def test_applies_calibrator_and_keeps_ranking(
        self, bundle: Bundle, rows: list[tuple[float | None, float | None, str | None]]
    ) -> None:
        matrix = bundle.contract.encode_rows(rows)
        log_odds = bundle.booster.inplace_predict(matrix, predict_type="margin").astype(np.float64)
        answers = bundle.predict_matrix(matrix)
        assert answers.dtype == np.float32
        np.testing.assert_allclose(answers, 1 / (1 + np.exp(-(0.7 * log_odds - 0.4))), rtol=1e-6)
        assert (np.diff(answers[np.argsort(log_odds)]) >= 0).all()

    def test_without_calibrator_predicts_as_booster(self, bundle: Bundle) -> None:
        matrix = CONTRACT.encode({"spend": [1.0, None, 12.0], "visits": [0, 4, 8], "tier": ["silver", None, "bronze"]})
        plain = Bundle(CONTRACT, bundle.booster)
        np.testing.assert_allclose(plain.predict_matrix(matrix), bundle.booster.inplace_predict(matrix), rtol=1e-6)

    def test_predicts_nothing_for_no_rows(self, bundle: Bundle) -> None:
        assert bundle.predict({"spend": [], "visits": [], "tier": []}).shape == (0,)

    @pytest.mark.parametrize("name", FILES)
    def test_changed_file_is_named(self, bundle: Bundle, tmp_path: Path, name: str) -> None:
        bundle.save(tmp_path)
        content = bytearray((tmp_path / name).read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BundleError, match=name):
            Bundle.load(tmp_path)

    @pytest.mark.parametrize("name", [*FILES, "manifest.json"])
    def test_missing_file_is_named(self, bundle: Bundle, tmp_path: Path, name: str) -> None:
        bundle.save(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(BundleError, match=name):
            Bundle.load(tmp_path)

    @pytest.mark.parametrize("found", [5, 7])
    def test_other_format_is_rejected_with_remedy(self, bundle: Bundle, tmp_path: Path, found: int) -> None:
        bundle.save(tmp_path)
        contract = json.loads((tmp_path / "contract.json").read_text())
        rewrite(tmp_path, "contract.json", contract | {"format": found})
        (tmp_path / "calibrator.json").unlink()
        with pytest.raises(BundleError, match=rf"format {found}.*reads format 6.*Train a model again"):
            Bundle.load(tmp_path)

    def test_bundle_without_a_profile_is_an_error(self, bundle: Bundle, tmp_path: Path) -> None:
        Bundle(CONTRACT, bundle.booster).save(tmp_path)
        with pytest.raises(BundleError, match=r"no reference profile.*profile\.json.*Train a model again"):
            read_profile(Bundle.load(tmp_path))

    def test_rejects_calibrator_with_negative_slope(self, bundle: Bundle, tmp_path: Path) -> None:
        bundle.save(tmp_path)
        rewrite(tmp_path, "calibrator.json", {"method": "logistic", "slope": -1.0, "intercept": 0.0})
        with pytest.raises(BundleError, match="Calibrator cannot be read at slope"):
            Bundle.load(tmp_path)

    def test_rejects_booster_of_other_width(self, bundle: Bundle, tmp_path: Path) -> None:
        narrow = CONTRACT.model_copy(update={"features": CONTRACT.features[:2]})
        with pytest.raises(BundleError, match="3 inputs, but its contract has 2"):
            Bundle(narrow, bundle.booster).save(tmp_path)


def rewrite(folder: Path, name: str, value: dict[str, object]) -> None:
    content = json.dumps(value).encode()
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest[name] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
