"""A seeded simulation of a subscription business, day by day, with known churn probabilities.

Every customer has unobserved traits, which affect only behaviour. On each day a customer decides to leave with a hazard
that is a function of the *observed* recent past. The status becomes ``churned`` exactly 30 days after the decision, and
the behaviour does not change in between. The probability of churn within 30 days, given everything observed, is
therefore exact, and no model can rank customers better than this probability.
"""

from simulator.generate import Generated, generate, read_outcomes
from simulator.injections import Injection
from simulator.world import World

__all__ = ["Generated", "Injection", "World", "generate", "read_outcomes"]
