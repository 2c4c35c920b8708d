"""From gold tables to a registered model."""
