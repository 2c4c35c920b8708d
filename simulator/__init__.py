"""A simulated subscription business, seeded and day by day, whose true probabilities of leaving are known.

Every customer has traits that nobody observes; they act only through behaviour. Leaving takes notice: on each day a
customer decides to leave with a hazard that is a function of their *observed* recent past, and becomes ``churned``
exactly 30 days later, while their behaviour stays as it was. Hence the probability of leaving within 30 days, given all
that can be observed, is exact, and no model can rank customers better than it does.
"""

from simulator.generate import Generated, generate
from simulator.injections import Injection
from simulator.truth import read_outcomes
from simulator.world import World

__all__ = ["Generated", "Injection", "World", "generate", "read_outcomes"]
