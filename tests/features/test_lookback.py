"""The sources of features: of both parts of a ratio, and of the lookups whose columns a feature uses."""

from __future__ import annotations

from include.features.lookback import feature_sources
from include.projects import load_project


def test_ratio_has_the_sources_of_both_parts() -> None:
    sources = feature_sources(load_project("subscription"))
    assert sources["sessions_7d"] == ("sessions",)
    assert sources["plan"] == ("customers",)
    assert sources["session_trend_7_30"] == ("sessions",)
    assert sources["spend_per_session_30d"] == ("sessions", "transactions")


def test_feature_that_uses_a_column_of_a_lookup_has_its_source() -> None:
    project = load_project("grocery")
    sources = feature_sources(project)
    assert set(sources) == {spec.name for spec in project.features}
    assert sources["baskets_28d"] == ("transactions",)
    looked_up = [name for name, used in sources.items() if "products" in used]
    assert looked_up
    assert all(sources[name] == ("products", "transactions") for name in looked_up)
