"""Tests of the DAGs and what they share."""
