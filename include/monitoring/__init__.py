"""Monitoring of the deployed model: drift, performance, reports, incidents, messages, metrics and training requests."""
