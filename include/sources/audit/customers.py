"""Known customers: compare the customer ids of each source with the ids of the population's source."""

from __future__ import annotations

from dataclasses import replace

import ibis
import pyarrow as pa

from include.days import DayRange
from include.lake import Engine, Lake
from include.lake.table_names import silver_table
from include.projects import Project, Source
from include.sources.audit.probe import Probe
from include.sources.audit.results import KnownCustomers
from include.sources.bronze import BLOCK_DAYS
from include.sources.column_types import trimmed, typed_value
from include.sources.delivered_files import Deliveries
from include.sources.read_files import read_files
from include.sources.read_table import read_table

EXAMPLES = 3
"""Maximum number of unknown ids that an audit shows, masked."""

_ID = "id"


def population_ids(project: Project, lake: Lake, engine: Engine, probe: Probe, days: DayRange) -> ibis.Table | None:
    """Return the distinct ids of the population's source, in silver and in the audited deliveries.

    Args:
        project: The project.
        lake: The lake.
        engine: The engine.
        probe: The probe of the population's source.
        days: The audited days.

    Returns:
        A table in the engine with one column; None if the source or its deliveries have no customer column.
    """
    name = project.population.source
    source = project.sources[name]
    if source.customer is None or source.delivered_name(source.customer) not in probe.columns:
        return None
    ids = _audited_ids(source, source.customer, probe, days)
    silver = lake.table(silver_table(name))
    if silver.exists():
        stored = silver.scan(engine, silver.days())
        ids.append(stored.select(**{_ID: stored[source.customer].cast("string")}))
    return engine.create_table("population_ids", ibis.union(*ids, distinct=True), temp=True)


def known_customers(engine: Engine, source: Source, probe: Probe, population: ibis.Table) -> KnownCustomers | None:
    """Compare the ids of a source's sample with the ids of the population's source.

    Args:
        engine: The engine.
        source: The configuration of the source.
        probe: The probe of the source.
        population: The ids of the population's source.

    Returns:
        The comparison; None if the sample has no ids.
    """
    if source.customer is None or source.customer not in probe.sample.column_names:
        return None
    ids = _ids(source, source.customer, probe.sample).distinct()
    ids = ids.filter(ids[_ID].notnull())
    joined = ids.left_join(population.select(known=population[_ID]), [(_ID, "known")])
    counts = joined.aggregate(total=joined.count(), known=joined["known"].count())
    (found,) = engine.to_pyarrow(counts).to_pylist()
    total, known = found["total"], found["known"]
    if not total:
        return None
    unknown = ids.anti_join(population, _ID).order_by(_ID).limit(EXAMPLES)
    examples = engine.to_pyarrow(unknown)[_ID].to_pylist() if known < total else []
    return KnownCustomers(total, known, [mask(text) for text in examples])


def mask(text: str) -> str:
    """Return the first character, the last character and the length of an id; only the length of a short id.

    Examples:
        >>> mask("C-1001"), mask("42")
        ('C…1 (6 characters)', '… (2 characters)')
    """
    first, last = (text[0], text[-1]) if len(text) > EXAMPLES else ("", "")
    return f"{first}…{last} ({len(text)} character{'' if len(text) == 1 else 's'})"


def _audited_ids(source: Source, customer: str, probe: Probe, days: DayRange) -> list[ibis.Table]:
    if probe.is_everything:
        return [_ids(source, customer, probe.sample)]
    narrow = source.model_copy(update={"columns": {customer: source.columns[customer]}, "key": [customer]})
    ids = []
    for block in days.blocks(BLOCK_DAYS):
        if isinstance(probe.deliveries, Deliveries):
            rows = read_files(narrow, probe.deliveries.within(block))
        else:
            rows = read_table(replace(probe.deliveries, source=narrow), block)
        ids.append(_ids(source, customer, pa.table({customer: rows[customer].unique()})))
    return ids


def _ids(source: Source, customer: str, rows: pa.Table) -> ibis.Table:
    text = ibis.memtable(rows.select([customer]))
    value = typed_value(trimmed(text[customer], source), source.columns[customer].type, source)
    return text.select(**{_ID: value.cast("string")})
