"""The names of the lake's tables.

Bronze, silver and quarantine have one table per source; gold and monitoring have one table per subject. A name that
starts with ``_`` belongs to a bookkeeping table, with one row per delivery or day.
"""

from __future__ import annotations

DELIVERIES_TABLE = "bronze/_deliveries"
"""Each delivered file or query that bronze contains, with its fingerprint."""

SILVER_DAYS_TABLE = "silver/_days"
"""The rows that silver received per source and day."""

FEATURES_TABLE = "gold/features"
"""One row of features per customer and day."""

GOLD_DAYS_TABLE = "gold/_days"
"""The feature definitions with which each day of ``gold/features`` was built, and its row count."""

LABELS_TABLE = "gold/labels"
"""One label per customer and matured day."""

LABEL_DAYS_TABLE = "gold/_label_days"
"""The label definition with which each day of ``gold/labels`` was built."""

FEATURES_QUARANTINE_TABLE = "quarantine/features"
"""Rows of features that a gold check refused."""

SCORES_TABLE = "gold/scores"
"""The retention list: one row per customer and scored day."""

PREDICTIONS_TABLE = "gold/predictions"
"""The endpoint's prediction log: one row per prediction."""

INCIDENTS_TABLE = "monitoring/incidents"
"""The state of each incident on each monitored day on which it is open or ends."""

ACKNOWLEDGEMENTS_TABLE = "monitoring/acknowledgements"
"""The users who acknowledged an incident, by the incident's first day."""

MESSAGES_TABLE = "monitoring/messages"
"""The messages to Slack or to the log, with their state."""

ERASED_TABLE = "privacy/erased_customers"
"""The keyed hashes of the ids of erased customers."""

KEPT_TABLE = "privacy/kept_from"
"""The first day that the retention periods of bronze and silver have left."""


def bronze_table(source: str) -> str:
    """Return the name of a source's raw table.

    Example:
        >>> bronze_table("transactions")
        'bronze/transactions'
    """
    return f"bronze/{source}"


def silver_table(source: str) -> str:
    """Return the name of a source's table of typed and checked rows."""
    return f"silver/{source}"


def quarantine_table(source: str) -> str:
    """Return the name of the table of a source's refused rows."""
    return f"quarantine/{source}"
