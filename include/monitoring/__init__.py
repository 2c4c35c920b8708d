"""Monitoring of the deployed model: drift, realised performance, reports, alerts, metrics and retraining requests."""
