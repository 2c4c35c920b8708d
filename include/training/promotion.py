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
class Decision:
    """Whether to promote, and why, for people."""

    promote: bool
    reason: str


def decide_promotion(challenger: Scores, champion: Scores | None, rule: Scores, margin: float) -> Decision:
    """Decide whether ``challenger`` becomes the champion.

    It must save more than the best simple rule, and by more than ``margin`` more than the champion, if there is one: a
    margin keeps chance on one test period from swapping models that are as good as each other.

    Args:
        challenger: The new model on the test rows.
        champion: The present champion on the same rows; ``None`` when there is none.
        rule: The best rule without a model on the same rows.
        margin: US dollars for 1,000 customers.

    Raises:
        PromotionError: Challenger and champion are the same version.

    Example:
        >>> challenger, champion, rule = Scores("2", 0.8, 900), Scores("1", 0.8, 850), Scores("recency", 0.7, 500)
        >>> decide_promotion(challenger, champion, rule, margin=100).reason
        'It saves $50 more per 1,000 customers than the champion; the margin is $100.'
    """
    if champion is not None and champion.name == challenger.name:
        raise PromotionError(
            f"Version {challenger.name} would be compared with itself.",
            where="promotion",
            remedy="Name a version that is not the champion.",
        )
    saving = challenger.saving_usd_per_1000
    over_rule = saving - rule.saving_usd_per_1000
    if not over_rule > 0:
        return Decision(False, f"Saves ${-over_rule:,.0f} less per 1,000 customers than the rule '{rule.name}'.")
    if champion is None:
        return Decision(
            True, f"The first model; saves ${over_rule:,.0f} more per 1,000 customers than the rule '{rule.name}'."
        )
    gain = saving - champion.saving_usd_per_1000
    compared = f"saves ${abs(gain):,.0f} {'more' if gain >= 0 else 'less'} per 1,000 customers than the champion"
    if not gain > margin:
        return Decision(False, f"It {compared}; the margin is ${margin:,.0f}.")
    return Decision(True, f"It {compared}, which is above the margin of ${margin:,.0f}.")
