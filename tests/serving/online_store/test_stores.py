"""Behaviour that every backend shares."""

from __future__ import annotations

import decimal
import uuid

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from include.serving.online_store import CustomerFeatures, StoreError, open_store
from include.settings import ServingSettings, Settings, StoreSettings
from tests.serving.online_store.conftest import DAY, MakeSync, SyncStore, day, rows_of


class TestLatest:
    def test_later_day_replaces_and_earlier_day_does_not(self, store: SyncStore) -> None:
        assert store.backend.put_day(day(1), rows_of({"a": 1.0, "b": 1.0})) == 2
        assert store.backend.put_day(day(2), rows_of({"a": 2.0})) == 1
        assert store.backend.put_day(day(0), rows_of({"a": 0.0, "b": 0.0, "c": 0.0})) == 1
        assert store.get("a") == CustomerFeatures(day(2), {"spend": 2.0})
        assert store.get("b") == CustomerFeatures(day(1), {"spend": 1.0}), "inactive customers keep their last row"
        assert store.get("c") == CustomerFeatures(day(0), {"spend": 0.0})
        assert store.get("d") is None

    def test_rewritten_day_replaces_its_rows(self, store: SyncStore) -> None:
        store.backend.put_day(day(0), rows_of({"a": 1.0, "b": 1.0, "d": 1.0}))
        store.backend.put_day(day(1), rows_of({"d": 5.0}))
        assert store.backend.put_day(day(0), rows_of({"a": 2.0, "c": 2.0})) == 2
        assert store.get("a") == CustomerFeatures(day(0), {"spend": 2.0})
        assert store.get("b") is None, "the rewritten day does not contain the customer"
        assert store.get("c") == CustomerFeatures(day(0), {"spend": 2.0})
        assert store.get("d") == CustomerFeatures(day(1), {"spend": 5.0})

    # Each example uses a separate project and therefore a separate store.
    @hypothesis_settings(
        max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], print_blob=True
    )
    @given(
        days=st.dictionaries(
            st.integers(0, 400),
            st.dictionaries(st.sampled_from("abcdefgh"), st.integers(-(2**24), 2**24).map(float), max_size=8),
            min_size=1,
            max_size=6,
        ),
        data=st.data(),
    )
    def test_days_in_any_order_and_again_leave_the_newest_row_of_each_customer(
        self, settings: Settings, make_sync: MakeSync, days: dict[int, dict[str, float]], data: st.DataObject
    ) -> None:
        order = data.draw(st.permutations([*days, *data.draw(st.lists(st.sampled_from(sorted(days)), max_size=3))]))
        project = uuid.uuid4().hex
        store = make_sync(open_store(settings.model_copy(update={"project": project})))
        for offset in order:
            store.backend.put_day(day(offset), rows_of(days[offset]))
        for customer in "abcdefgh":
            newest = max((offset for offset, rows in days.items() if customer in rows), default=None)
            expected = None if newest is None else CustomerFeatures(day(newest), {"spend": days[newest][customer]})
            assert store.get(customer) == expected
        store.close()


class TestErasure:
    def test_only_the_customers_row_is_erased(self, store: SyncStore) -> None:
        store.backend.put_day(day(1), rows_of({"customer-a": 1.0, "customer-b": 1.0}))
        assert store.backend.contains("customer-a")
        assert store.backend.erase("customer-a")
        assert not store.backend.contains("customer-a")
        assert not store.backend.erase("customer-a")
        assert store.get("customer-a") is None
        assert store.get("customer-b") == CustomerFeatures(day(1), {"spend": 1.0})
        assert store.backend.put_day(day(1), rows_of({"customer-b": 2.0, "customer-c": 2.0})) == 2
        assert store.get("customer-b") == store.get("customer-c") == CustomerFeatures(day(1), {"spend": 2.0})


class TestValues:
    def test_gold_types_are_read_as_number_or_text(self, store: SyncStore) -> None:
        store.backend.put_day(
            DAY,
            pa.table(
                {
                    "dt": pa.array([DAY, DAY, DAY], pa.date32()),
                    "customer_id": ["a", "b", "ü 🙂"],
                    "header": pa.array([0.5, None, float("nan")], pa.float64()),
                    "visits": pa.array([3, None, 2**40], pa.int64()),
                    "member": pa.array([True, False, None]),
                    "balance": pa.array([decimal.Decimal("12.50"), None, decimal.Decimal("-0.25")]),
                    "segment": ["young", None, "größer"],
                    "plan": pa.array(["x", "y", None]).dictionary_encode(),
                    "nothing": pa.nulls(3),
                    "no_text": pa.nulls(3, pa.string()),
                }
            ),
        )
        nothing = {"nothing": None, "no_text": None}
        assert store.get("a") == CustomerFeatures(
            DAY,
            {"header": 0.5, "visits": 3.0, "member": 1.0, "balance": 12.5, "segment": "young", "plan": "x"} | nothing,
        )
        assert store.get("b") == CustomerFeatures(
            DAY,
            {"header": None, "visits": None, "member": 0.0, "balance": None, "segment": None, "plan": "y"} | nothing,
        )
        assert store.get("ü 🙂") == CustomerFeatures(
            DAY,
            {"header": None, "visits": 2.0**40, "member": None, "balance": -0.25, "segment": "größer", "plan": None}
            | nothing,
        )

    @hypothesis_settings(
        max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], print_blob=True
    )
    @given(
        rows=st.lists(
            st.tuples(
                st.none() | st.floats(allow_nan=False, width=32), st.none() | st.text(st.characters(codec="utf-8"))
            ),
            min_size=1,
            max_size=20,
        )
    )
    def test_float32_and_text_are_exact(self, store: SyncStore, rows: list[tuple[float | None, str | None]]) -> None:
        numbers, texts = zip(*rows, strict=True)
        ids = [f"c{i}" for i in range(len(rows))]
        columns = {"number": pa.array(numbers, pa.float64()), "text": pa.array(texts, pa.string())}
        store.backend.put_day(DAY, pa.table({"customer_id": ids, **columns}))
        for customer, number, text in zip(ids, numbers, texts, strict=True):
            assert store.get(customer) == CustomerFeatures(DAY, {"number": number, "text": text})

    def test_double_is_rounded_as_in_the_models_input(self, store: SyncStore) -> None:
        values = {"a": 0.1, "b": 2.0**40 + 1, "c": 1e300}
        store.backend.put_day(DAY, rows_of(values))
        for customer, value in values.items():
            with np.errstate(over="ignore"):
                expected = float(np.float32(value))
            assert store.get(customer) == CustomerFeatures(DAY, {"spend": expected})

    def test_more_than_65536_categories_are_stored(self, store: SyncStore) -> None:
        ids = [f"c{i}" for i in range(70_000)]
        store.backend.put_day(DAY, pa.table({"customer_id": ids, "name": [f"n{i}" for i in range(70_000)]}))
        for customer in (0, 65_535, 65_536, 69_999):
            assert store.get(f"c{customer}") == CustomerFeatures(DAY, {"name": f"n{customer}"})

    def test_days_may_have_different_columns(self, store: SyncStore) -> None:
        store.backend.put_day(day(0), pa.table({"customer_id": ["a", "b"], "old": [1.0, 2.0]}))
        store.backend.put_day(day(1), pa.table({"customer_id": ["b"], "old": ["now a text"], "new": [3.0]}))
        assert store.get("a") == CustomerFeatures(day(0), {"old": 1.0})
        assert store.get("b") == CustomerFeatures(day(1), {"old": "now a text", "new": 3.0})

    def test_unsupported_column_type_is_an_error_and_nothing_is_written(self, store: SyncStore) -> None:
        store.backend.put_day(DAY, rows_of({"a": 1.0}))
        rows = pa.table({"customer_id": ["a"], "since": pa.array([0], pa.timestamp("us"))})
        with pytest.raises(StoreError, match=r"feature since.*timestamp|timestamp.*feature since"):
            store.backend.put_day(day(1), rows)
        assert store.get("a") == CustomerFeatures(DAY, {"spend": 1.0})


class TestLookup:
    def test_missing_store_is_an_error_until_a_day_is_written(self, settings: Settings, make_sync: MakeSync) -> None:
        reader = make_sync(open_store(settings))
        with pytest.raises(StoreError, match="There is no online store yet"):
            reader.get("a")
        make_sync(open_store(settings)).backend.put_day(DAY, rows_of({"a": 1.0}))
        assert reader.get("a") == CustomerFeatures(DAY, {"spend": 1.0})

    def test_id_that_cannot_be_stored_is_not_found(self, store: SyncStore) -> None:
        store.backend.put_day(DAY, rows_of({"a": 1.0}))
        for customer in ("", "x" * 10_000, "\ud800", "a\x00", "*", "A"):
            assert store.get(customer) is None

    def test_projects_are_isolated(self, settings: Settings, make_sync: MakeSync) -> None:
        make_sync(open_store(settings)).backend.put_day(DAY, rows_of({"a": 1.0}))
        other = make_sync(open_store(settings.model_copy(update={"project": "other"})))
        other.backend.put_day(DAY, rows_of({"b": 1.0}))
        assert other.get("a") is None

    def test_day_without_customers_is_written(self, store: SyncStore) -> None:
        assert store.backend.put_day(DAY, rows_of({})) == 0
        assert store.get("a") is None

    def test_backend_none_opens_no_store(self) -> None:
        assert open_store(Settings(serving=ServingSettings(store=StoreSettings(backend="none")))) is None
