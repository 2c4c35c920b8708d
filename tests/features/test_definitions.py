"""Edits of a project that change a feature or label definition, and edits that do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from include.features.definitions import gold_definitions, label_definition
from include.projects import Project, load_project

Content = dict[str, Any]


def edited(edit: Callable[[Content], None]) -> Project:
    content = load_project("grocery").model_dump()
    edit(content)
    return Project.model_validate(content)


def family(content: Content, name: str) -> Content:
    found: Content = next(one for one in content["feature_families"] if one["name"] == name)
    return found


def different(edit: Callable[[Content], None]) -> set[str]:
    before, after = gold_definitions(load_project("grocery")), gold_definitions(edited(edit))
    return {name for name in before.keys() & after.keys() if before[name] != after[name]}


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: family(c, "age").update(description="Years.", topic="person", drifts_by_construction=True),
        lambda c: family(c, "baskets_{window}d")["validation"].update(max=1e6),
        lambda c: c["feature_families"].remove(family(c, "card_discount_{window}d")),
        lambda c: c["label"].update(horizon_days=7),
        lambda c: c["training"].update(n_trials=3),
    ],
    ids=["words", "limits", "one removed", "label", "training"],
)
def test_edits_that_affect_no_value_keep_the_definitions(edit: Callable[[Content], None]) -> None:
    assert different(edit) == set()


def test_condition_changes_the_feature_and_features_derived_from_it() -> None:
    project = load_project("grocery")
    made_of_baskets = {
        spec.name
        for spec in project.features
        if any("baskets_" in str(part) for part in spec.calculation.model_dump().values())
    }
    changed = different(lambda c: family(c, "baskets_{window}d")["calculation"].update(where="quantity > 1"))
    assert {name for name in changed if name.startswith("baskets_")}
    assert made_of_baskets
    assert made_of_baskets <= changed
    assert len(changed) < len(project.features)


def test_population_has_a_definition() -> None:
    assert different(lambda c: c["population"].update(active_within_days=30)) == {"population"}


def test_derived_column_changes_only_the_features_of_its_source() -> None:
    before = load_project("subscription")
    content = before.model_dump()
    source, columns = next((source, columns) for source, columns in content["derived_columns"].items() if columns)
    columns[0]["sql"] = f"({columns[0]['sql']})"
    then, now = gold_definitions(before), gold_definitions(Project.model_validate(content))
    own = {spec.name for spec in before.features if getattr(spec.calculation, "source", None) == source}
    others = {spec.name for spec in before.features if getattr(spec.calculation, "source", source) != source}
    assert all(then[name] != now[name] for name in own)
    assert all(then[name] == now[name] for name in others)
    assert own
    assert others


@pytest.mark.parametrize(("change", "same"), [({"description": "Gone."}, True), ({"horizon_days": 7}, False)])
def test_horizon_changes_the_label_definition_and_description_does_not(change: Content, same: bool) -> None:
    after = label_definition(edited(lambda c: c["label"].update(change)))
    assert (after == label_definition(load_project("grocery"))) is same


def test_lateness_is_part_of_the_label_definition() -> None:
    after = label_definition(edited(lambda c: c.update(lateness_days=3)))
    assert after != label_definition(load_project("grocery"))
