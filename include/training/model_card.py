"""The model card: what a model is, how it was made, how good it is, and what it is not fit for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from include.training.bundle import Bundle
from include.training.candidate import Candidate
from include.training.requirements import Verdict

_TOP_FEATURES = 10


def render_model_card(candidate: Candidate, bundle: Bundle, verdicts: list[Verdict]) -> str:
    """Return the card of ``bundle``, which was made of ``candidate``, as Markdown."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - Markdown, from the project's own configuration and figures
        keep_trailing_newline=True,
    )
    return templates.get_template("model_card.md.j2").render(
        candidate=candidate, contract=bundle.contract, verdicts=verdicts, top=_most_used(bundle)
    )


def _most_used(bundle: Bundle) -> list[tuple[str, float]]:
    scores = bundle.booster.get_score(importance_type="total_gain")
    gains = {name: float(np.sum(gain)) for name, gain in scores.items()}
    total = sum(gains.values()) or 1.0
    ordered = sorted(gains.items(), key=lambda item: -item[1])
    return [(name, gain / total) for name, gain in ordered[:_TOP_FEATURES]]
