"""Churnflow's product code: everything that computes. Nothing in here imports Airflow."""
