"""Packaging, the running endpoint, rollout and rollback of a model."""
