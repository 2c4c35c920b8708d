"""The root cause of a drift verdict: the drifted features by source, with the findings about each source."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from include.features.lookback import feature_sources
from include.monitoring.source_health import SourceHealth
from include.plurals import counted
from include.projects import Project


def root_causes(project: Project, drifted: Collection[str], sources: Sequence[SourceHealth]) -> list[str]:
    """Return one sentence per source with drifted features, or with fewer rows than usual.

    A feature that is computed from two sources is counted for both.

    Args:
        project: The project.
        drifted: The names of the drifted features.
        sources: The health of the sources.

    Returns:
        The sentences: first the sources with fewer rows than usual, the most severe first; then the other sources with
        findings; then the sources without. Within these groups, sources with more drifted features are first.
    """
    names = feature_sources(project)
    features = {source.name: sum(source.name in names.get(feature, ()) for feature in drifted) for source in sources}
    stated = [source for source in sources if features[source.name] or source.severity >= 1]
    stated.sort(
        key=lambda source: (
            -source.severity if source.severity >= 1 else 0,
            not source.findings,
            -features[source.name],
        )
    )
    return [_sentence(source, features[source.name]) for source in stated]


def _sentence(source: SourceHealth, features: int) -> str:
    start = f"{counted(features, 'feature') if features else 'No feature'} of '{source.name}' drifted; "
    findings = [finding.text for finding in source.findings]
    if not any(finding.kind in ("volume", "freshness") for finding in source.findings):
        change = "" if source.change is None else f" ({source.change:+.0%})"
        findings.append(f"no finding about the number of rows of '{source.name}'{change}")
    return start + "; ".join(findings) + "."
