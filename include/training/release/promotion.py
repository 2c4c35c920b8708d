"""Whether a challenger becomes the champion. One pure function decides, on figures that were all computed anew."""

from __future__ import annotations

from dataclasses import dataclass

from include.errors import ChurnflowError


class PromotionError(ChurnflowError):
    """A challenger and a champion cannot be compared fairly."""


@dataclass(frozen=True)
class Scores:
    """What a model or a rule achieves on the test rows.

    Attributes:
        name: The model's version, or the rule's name.
        auc: How well it ranks.
        saving_usd_per_1000: US dollars saved on 1,000 customers against offering to nobody.
    """

    name: str
    auc: float
    saving_usd_per_1000: float


@dataclass(frozen=True)
class Gain:
    """How much more the challenger saves than what it is compared with, both on the same draws of customers.

    Attributes:
        over: What it is compared with: the champion's version, or the rule's name.
        usd_per_1000: The difference on the test rows, in US dollars for 1,000 customers.
        low: Its lower confidence bound: ``confidence`` of the resamples reach it.
        high: Its upper confidence bound, of the same confidence.
        confidence: The confidence of each bound.
    """

    over: str
    usd_per_1000: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Decision:
    """Whether to promote, why, for people, and the gain that decided."""

    promote: bool
    reason: str
    gain: Gain


def decide_promotion(version: str, over_rule: Gain, over_champion: Gain | None, margin: float) -> Decision:
    """Decide whether the challenger ``version`` becomes the champion.

    The first model must save more than the best simple rule, with its lower confidence bound above zero. Any later one
    must save no less than that rule, and its lower bound over the champion must clear ``margin``: chance on one test
    period then seldom swaps models that are as good as each other.

    Args:
        version: The challenger.
        over_rule: Its gain over the best rule without a model.
        over_champion: Its gain over the present champion; ``None`` when there is none.
        margin: US dollars for 1,000 customers.

    Raises:
        PromotionError: Challenger and champion are the same version.

    Examples:
        >>> over_rule = Gain("offer by recency", 400, low=300, high=500, confidence=0.95)
        >>> over_champion = Gain("1", 50, low=-30, high=130, confidence=0.95)
        >>> decide_promotion("2", over_rule, over_champion, margin=0).reason
        'Saves $50 more per 1,000 customers than the champion (95% bound -$30): not above the margin of $0.'
    """
    if over_champion is not None and over_champion.over == version:
        raise PromotionError(
            f"Version {version} would be compared with itself.",
            where="promotion",
            remedy="Name a version that is not the champion.",
        )
    if over_champion is None:
        return _clears(over_rule, f"the rule '{over_rule.over}'", 0.0)
    if not over_rule.usd_per_1000 >= 0:
        return Decision(False, f"{_told(over_rule, f'the rule {over_rule.over!r}')}.", over_rule)
    return _clears(over_champion, "the champion", margin)


def _clears(gain: Gain, over: str, margin: float) -> Decision:
    promote = gain.low > margin
    end = "above" if promote else "not above"
    return Decision(promote, f"{_told(gain, over)}: {end} the margin of ${margin:,.0f}.", gain)


def _told(gain: Gain, over: str) -> str:
    amount = f"${abs(gain.usd_per_1000):,.0f} {'less' if gain.usd_per_1000 < 0 else 'more'}"
    return f"Saves {amount} per 1,000 customers than {over} ({gain.confidence:.0%} bound {_usd(gain.low)})"


def _usd(amount: float) -> str:
    return f"{'-' if amount < 0 else ''}${abs(amount):,.0f}"
