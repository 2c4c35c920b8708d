from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.training.evaluation.baselines import NO_OFFERS
from include.training.evaluation.conditions import (
    Gain,
    RankingGain,
    decide_first_promotion,
    decide_new_recipe,
    decide_refresh,
)

amounts = st.floats(-1e6, 1e6) | st.just(float("nan"))


def gain(usd: float, low: float, over: str = "the champion") -> Gain:
    return Gain(over, usd, low, 2 * usd - low, 0.95)


def over_rule(usd: float, low: float) -> Gain:
    return gain(usd, low, "offer by recency")


def ranking(low: float) -> RankingGain:
    return RankingGain("offer by recency", 0.71, 0.65, low, 0.995)


@pytest.mark.parametrize(
    ("rule", "champion", "promote", "reason"),
    [
        ((300, 100), (123, 45), True, "Saves $123 more per 1,000 customers than the champion (95% bound $45): above"),
        ((300, 100), (123, 20), False, "not above the margin of $20"),
        ((300, -50), (123, 45), True, "than the champion"),
        ((300, 100), (-10, -80), False, "$10 less per 1,000 customers than the champion"),
        ((-1, -200), (500, 400), False, "$1 less per 1,000 customers than the baseline 'offer by recency'"),
        ((300, 100), (float("nan"), float("nan")), False, "not above"),
    ],
)
def test_decision_on_a_new_recipe_and_reason(
    rule: tuple[float, float], champion: tuple[float, float], promote: bool, reason: str
) -> None:
    decision = decide_new_recipe(over_rule(*rule), gain(*champion), margin=20)
    assert decision.promote is promote
    assert reason in decision.reason


@pytest.mark.parametrize(
    ("auc_low", "no_offers", "recency", "promote", "reason"),
    [
        (0.01, 300, 100, True, "more per 1,000 customers than the rule 'offer by recency' (95% bound $100): above"),
        (0.01, 120, 300, True, "than the rule 'offer to nobody' (95% bound $120): above the margin of $20"),
        (0.01, 20, 300, False, "than the rule 'offer to nobody' (95% bound $20): not above the margin of $20"),
        (0.01, 300, 0, False, "than the rule 'offer by recency' (95% bound $0): not above the margin of $0"),
        (0.01, float("nan"), 300, False, "not above the margin"),
        (0.0, 300, 300, False, "The AUC 0.710 is not above 0.650, the AUC of the rule 'offer by recency', with a conf"),
        (float("nan"), 300, 300, False, "The AUC 0.710 is not above 0.650"),
    ],
)
def test_first_champion_ranks_and_saves_more_than_every_rule(
    auc_low: float, no_offers: float, recency: float, promote: bool, reason: str
) -> None:
    gains = [gain(500, no_offers, NO_OFFERS), over_rule(500, recency)]
    decision = decide_first_promotion(ranking(auc_low), gains, margin=20)
    assert decision.promote is promote
    assert reason in decision.reason


@given(rule=amounts, rule_low=amounts, usd=amounts, low=amounts, margin=st.floats(0, 1e5))
def test_never_promotes_below_the_margin(rule: float, rule_low: float, usd: float, low: float, margin: float) -> None:
    later = decide_new_recipe(over_rule(rule, rule_low), gain(usd, low), margin)
    assert not later.promote or (low > margin and rule >= 0)
    first = decide_first_promotion(ranking(0.1), [over_rule(rule, rule_low), gain(usd, low, NO_OFFERS)], margin)
    assert first.promote is (rule_low > 0 and low > margin)


@pytest.mark.parametrize(
    ("rule", "low", "promote", "reason"),
    [
        (300, -0.004, True, "The AUC 0.850 is not below 0.848, the AUC of an older fit, by more than 0.005 (95% bound"),
        (300, -0.005, False, "The AUC 0.850 may be below 0.848, the AUC of an older fit, by more than 0.005"),
        (300, float("nan"), False, "may be below"),
        (-1, 0.01, False, "$1 less per 1,000 customers than the baseline 'offer by recency'"),
        (float("nan"), 0.01, False, "than the baseline"),
    ],
)
def test_refresh_must_not_be_worse_than_an_older_fit(rule: float, low: float, promote: bool, reason: str) -> None:
    decision = decide_refresh(over_rule(rule, rule), RankingGain("an older fit", 0.85, 0.848, low, 0.95), margin=0.005)
    assert decision.promote is promote
    assert reason in decision.reason


def test_refresh_without_an_older_fit_must_save_as_much_as_the_baseline() -> None:
    assert decide_refresh(over_rule(0, -10), None, margin=0.005).promote
    assert not decide_refresh(over_rule(-1, -10), None, margin=0.005).promote
