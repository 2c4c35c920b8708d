"""Tests of what Airflow's UI shows."""
