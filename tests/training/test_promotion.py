from __future__ import annotations

import pytest

from include.training.promotion import PromotionError, Scores, decide_promotion


def scores(name: str, saving: float) -> Scores:
    return Scores(name, 0.8, saving)


RULE = scores("offer by recency", 500)


@pytest.mark.parametrize(
    ("challenger", "champion", "promote", "reason"),
    [
        (600, None, True, "first model; saves $100 more"),
        (500, None, False, "$0 less"),
        (400, None, False, "$100 less"),
        (float("nan"), None, False, "less"),
        (1200, 1000, True, "above the margin"),
        (1100, 1000, False, "the margin is $100"),
        (1000, 1000, False, "$0 more"),
        (900, 1000, False, "$100 less"),
        (450, 100, False, "than the rule 'offer by recency'"),
        (1200, float("nan"), False, "the margin"),
    ],
)
def test_decision(challenger: float, champion: float | None, promote: bool, reason: str) -> None:
    former = None if champion is None else scores("1", champion)
    decision = decide_promotion(scores("2", challenger), former, RULE, margin=100)
    assert decision.promote is promote
    assert reason in decision.reason


def test_without_a_margin_it_still_has_to_be_better() -> None:
    assert not decide_promotion(scores("2", 1000), scores("1", 1000), RULE, margin=0).promote
    assert decide_promotion(scores("2", 1001), scores("1", 1000), RULE, margin=0).promote


def test_a_model_is_never_compared_with_itself() -> None:
    with pytest.raises(PromotionError, match="itself"):
        decide_promotion(scores("1", 1000), scores("1", 1000), RULE, margin=0)
