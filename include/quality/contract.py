"""Contracts: what a table holds, in words that a reader sees in the report and in types that are checked on writing.

A silver table's contract is its entry in sources.yaml and checks.yaml; the gold table's is features.yaml and the part
``gold`` of checks.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from include.errors import ChurnflowError
from include.lake.table_names import FEATURES_TABLE, silver_table
from include.projects import Project, Source

_TYPES = {
    "string": pa.string(),
    "category": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "decimal": pa.decimal128(18, 4),
    "timestamp": pa.timestamp("us"),
    "date": pa.date32(),
    "boolean": pa.bool_(),
}


class ContractError(ChurnflowError):
    """A table, or rows about to be written to it, are not what its contract says; the table is as it was."""


@dataclass(frozen=True)
class ContractColumn:
    """One column of a table.

    Attributes:
        name: Its name.
        type: Its type, as in sources.yaml; ``category`` is a text of few values.
        required: Whether it is never empty.
        description: What it means.
    """

    name: str
    type: str
    required: bool
    description: str


@dataclass(frozen=True)
class Contract:
    """The form of a table; its rules and their severities stand beside it in the report.

    Attributes:
        table: Its name.
        description: What one row is.
        owner: Who answers for it.
        key: The columns that identify a row.
        columns: Its columns.
    """

    table: str
    description: str
    owner: str
    key: tuple[str, ...]
    columns: tuple[ContractColumn, ...]

    def verify(self, rows: pa.Table) -> None:
        """Refuse rows that are not of this form.

        Raises:
            ContractError: A column is missing, has another type or an empty value that it must not have, or a key
                appears twice.
        """
        for column in self.columns:
            if column.name not in rows.column_names:
                raise self._broken(f"Column {column.name!r} is missing")
            found = rows.schema.field(column.name).type
            if found != _TYPES[column.type]:
                raise self._broken(f"Column {column.name!r} is {found}, not {_TYPES[column.type]}")
            if column.required and rows[column.name].null_count:
                raise self._broken(f"Column {column.name!r} has empty values")
        undeclared = sorted(set(rows.column_names) - {column.name for column in self.columns})
        if undeclared:
            raise self._broken(f"Column {undeclared[0]!r} is not in the contract")
        if rows.group_by(list(self.key), use_threads=False).aggregate([]).num_rows != rows.num_rows:
            raise self._broken(f"A key ({', '.join(self.key)}) appears more than once")

    def verify_stored(self, schema: pa.Schema) -> None:
        """Refuse a table that was written when a column had another type: values would be cast without a word.

        Args:
            schema: The stored table's.

        Raises:
            ContractError: A column is stored with another type.
        """
        for column in self.columns:
            stored = schema.field(column.name).type if column.name in schema.names else _TYPES[column.type]
            if stored != _TYPES[column.type]:
                raise ContractError(
                    f"Column {column.name!r} is stored as {stored}, its contract now says {column.type}.",
                    where=self.table,
                    remedy="Give the new column another name, or move the table away and ingest its history again.",
                )

    def _broken(self, what: str) -> ContractError:
        return ContractError(
            f"{what}.", where=self.table, remedy="Report it as a defect of the step that writes this table."
        )


def silver_contract(name: str, source: Source) -> Contract:
    """Return the contract of the silver table of source ``name``."""
    day = ContractColumn("dt", "date", True, "The day that the row was delivered for")
    columns = [
        ContractColumn(key, column.type, column.required or key in source.key, column.description)
        for key, column in source.columns.items()
    ]
    return Contract(silver_table(name), source.description, source.owner, ("dt", *source.key), (day, *columns))


def gold_contract(project: Project) -> Contract:
    """Return the contract of ``gold/features``."""
    columns = [
        ContractColumn("dt", "date", True, "The snapshot day"),
        ContractColumn("customer_id", "string", True, "The customer"),
        *(
            ContractColumn(spec.name, spec.dtype, not spec.nullable, spec.description or spec.name)
            for spec in project.features
        ),
    ]
    description = "One customer of the population, as known when the snapshot day closed."
    return Contract(FEATURES_TABLE, description, project.owner, ("dt", "customer_id"), tuple(columns))
