"""The conditions of a promotion: the differences between a challenger, the champion and the rules without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from include.training.evaluation.baselines import CONSTANT_RULES


@dataclass(frozen=True)
class Gain:
    """The difference between the savings of the challenger and of another model or baseline, on the same draws.

    Attributes:
        over: The champion's version, or the baseline's name.
        usd_per_1000: The difference on the test rows, in US dollars per 1,000 customers.
        low: Its lower confidence bound; the share ``confidence`` of the resamples is at or above it.
        high: Its upper confidence bound, of the same confidence.
        confidence: The confidence of each bound.
    """

    over: str
    usd_per_1000: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class RankingGain:
    """The difference between the AUC of the challenger and of another model or rule, on the same draws.

    Attributes:
        over: The name of the other model or rule.
        auc: The AUC of the challenger.
        other_auc: The AUC of the other model or rule; 0.5 if it does not rank.
        low: The lower confidence bound of the difference.
        confidence: Its confidence.
    """

    over: str
    auc: float
    other_auc: float
    low: float
    confidence: float


@dataclass(frozen=True)
class Decision:
    """Whether to promote, the reason as text, and the gain that decided."""

    promote: bool
    reason: str
    gain: Gain


def decide_first_promotion(ranking: RankingGain, over_rules: Sequence[Gain], margin: float) -> Decision:
    """Decide whether a challenger becomes the first champion.

    The challenger must rank better and save more than every rule without a model: the lower bounds of the differences
    must be above zero. The lower bounds of the additional savings over the constant rules, which are no offers and
    offers to all customers, must exceed ``margin``. A model without skill whose offers leave out a few customers hardly
    differs from a constant rule, so its bound would often be above zero by chance.

    Args:
        ranking: The difference between the AUC of the challenger and of the best rule.
        over_rules: Its gain over each rule.
        margin: US dollars per 1,000 customers.
    """
    missed = [gain for gain in over_rules if not gain.low > _rule_margin(gain, margin)]
    hardest = min(missed or over_rules, key=lambda gain: gain.low - _rule_margin(gain, margin))
    if not ranking.low > 0:
        return Decision(
            False,
            f"The AUC {ranking.auc:.3f} is not above {ranking.other_auc:.3f}, the AUC of the rule {ranking.over!r}, "
            f"with a confidence of {_percent(ranking.confidence)} (bound of the difference {ranking.low:.3f}).",
            hardest,
        )
    return _compare_with_margin(hardest, f"the rule {hardest.over!r}", _rule_margin(hardest, margin))


def decide_new_recipe(over_baseline: Gain, over_champion: Gain, margin: float) -> Decision:
    """Decide whether a new recipe replaces the champion's recipe.

    The new recipe must save at least as much as the best baseline, and the lower bound of its gain over the champion
    must exceed ``margin``, so that recipes of equal quality are rarely exchanged by chance.

    Args:
        over_baseline: Its gain over the best baseline.
        over_champion: Its gain over the champion, or over the champion's recipe.
        margin: US dollars per 1,000 customers.

    Example:
        >>> over_baseline = Gain("offer by recency", 400, low=300, high=500, confidence=0.95)
        >>> over_champion = Gain("the champion", 50, low=-30, high=130, confidence=0.95)
        >>> decide_new_recipe(over_baseline, over_champion, margin=0).reason
        'Saves $50 more per 1,000 customers than the champion (95% bound -$30): not above the margin of $0.'
    """
    if not over_baseline.usd_per_1000 >= 0:
        return _worse_than_baseline(over_baseline)
    return _compare_with_margin(over_champion, over_champion.over, margin)


def decide_refresh(over_baseline: Gain, over_older: RankingGain | None, margin: float) -> Decision:
    """Decide whether a refit of the champion's recipe on newer rows replaces the champion.

    This is a test of non-inferiority (Piaggio et al. 2012, JAMA 308): the refit must save at least as much as the best
    baseline, and the lower bound of the difference between its AUC and the AUC of an older fit must exceed
    ``-margin``. A refit is expected to be slightly better, so a test of superiority would rarely find a difference, and
    the champion would become old.

    Args:
        over_baseline: Its gain over the best baseline.
        over_older: The difference between the AUC of a newer and an older fit of the recipe; None if there are no rows
            for an older fit.
        margin: The largest tolerated loss of AUC.

    Example:
        >>> over_baseline = Gain("offer by recency", 400, low=300, high=500, confidence=0.95)
        >>> newer = RankingGain("an older fit", 0.851, 0.849, low=-0.001, confidence=0.95)
        >>> decide_refresh(over_baseline, newer, margin=0.005).reason
        'The AUC 0.851 is not below 0.849, the AUC of an older fit, by more than 0.005 (95% bound -0.001).'
    """
    if not over_baseline.usd_per_1000 >= 0:
        return _worse_than_baseline(over_baseline)
    if over_older is None:
        return Decision(True, "The data has no rows for a comparison with an older fit.", over_baseline)
    refreshed = over_older.low > -margin
    relation = "is not" if refreshed else "may be"
    reason = (
        f"The AUC {over_older.auc:.3f} {relation} below {over_older.other_auc:.3f}, the AUC of {over_older.over}, by "
        f"more than {margin:g} ({_percent(over_older.confidence)} bound {over_older.low:.3f})."
    )
    return Decision(refreshed, reason, over_baseline)


def _worse_than_baseline(gain: Gain) -> Decision:
    return Decision(False, f"{_gain_text(gain, f'the baseline {gain.over!r}')}.", gain)


def _rule_margin(gain: Gain, margin: float) -> float:
    return margin if gain.over in CONSTANT_RULES else 0.0


def _compare_with_margin(gain: Gain, over: str, margin: float) -> Decision:
    promote = gain.low > margin
    end = "above" if promote else "not above"
    return Decision(promote, f"{_gain_text(gain, over)}: {end} the margin of ${margin:,.0f}.", gain)


def _gain_text(gain: Gain, over: str) -> str:
    amount = f"${abs(gain.usd_per_1000):,.0f} {'less' if gain.usd_per_1000 < 0 else 'more'}"
    return f"Saves {amount} per 1,000 customers than {over} ({_percent(gain.confidence)} bound {_usd(gain.low)})"


def _usd(amount: float) -> str:
    return f"{'-' if amount < 0 else ''}${abs(amount):,.0f}"


def _percent(share: float) -> str:
    return f"{round(share * 100, 2):g}%"
