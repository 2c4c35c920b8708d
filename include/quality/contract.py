"""Contracts of silver and gold tables: columns, types and key, shown in the report and verified before each write.

The contract of a silver table comes from ``sources.yaml``, the contract of ``gold/features`` from ``features.yaml``.
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
    """A table, or rows to be written to it, violate its contract; these rows are not written."""


@dataclass(frozen=True)
class ContractColumn:
    """A column of a contract.

    Attributes:
        name: The column's name.
        type: The type as in ``sources.yaml``, or ``category``.
        required: Whether null values are forbidden.
        description: The meaning of the column.
    """

    name: str
    type: str
    required: bool
    description: str


@dataclass(frozen=True)
class Contract:
    """The columns and the key of a table.

    Attributes:
        table: The table's name.
        description: The meaning of one row.
        owner: The team responsible for the data.
        key: The columns that identify a row.
        columns: The columns.
    """

    table: str
    description: str
    owner: str
    key: tuple[str, ...]
    columns: tuple[ContractColumn, ...]

    def verify(self, rows: pa.Table) -> None:
        """Check rows before they are written.

        Raises:
            ContractError: A column is missing, undeclared or of another type, a required value is null, or a key
                appears twice.
        """
        for column in self.columns:
            if column.name not in rows.column_names:
                raise self._violation(f"Column {column.name!r} is missing")
            found = rows.schema.field(column.name).type
            if found != _TYPES[column.type]:
                raise self._violation(f"Column {column.name!r} is {found}, not {_TYPES[column.type]}")
            if column.required and rows[column.name].null_count:
                raise self._violation(f"Column {column.name!r} has empty values")
        undeclared = sorted(set(rows.column_names) - {column.name for column in self.columns})
        if undeclared:
            raise self._violation(f"Column {undeclared[0]!r} is not in the contract")
        if rows.group_by(list(self.key), use_threads=False).aggregate([]).num_rows != rows.num_rows:
            raise self._violation(f"A key ({', '.join(self.key)}) appears more than once")

    def verify_stored(self, schema: pa.Schema) -> None:
        """Check the schema of the stored table: a write would silently cast values of a changed type.

        Raises:
            ContractError: A column is stored with another type.
        """
        for column in self.columns:
            stored = schema.field(column.name).type if column.name in schema.names else _TYPES[column.type]
            if stored != _TYPES[column.type]:
                raise ContractError(
                    f"Column {column.name!r} is stored as {stored}, its contract requires {column.type}.",
                    where=self.table,
                    remedy="Give the new column another name, or move the table away and ingest its history again.",
                )

    def _violation(self, what: str) -> ContractError:
        return ContractError(
            f"{what}.", where=self.table, remedy="Report it as a defect of the step that writes this table."
        )


def silver_contract(name: str, source: Source) -> Contract:
    """Return the contract of a source's silver table.

    Args:
        name: The source's name.
        source: Its configuration.
    """
    day = ContractColumn("dt", "date", True, "The day of the row's delivery")
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
    description = "One customer of the population, as known at the end of the snapshot day."
    return Contract(FEATURES_TABLE, description, project.owner, ("dt", "customer_id"), tuple(columns))
