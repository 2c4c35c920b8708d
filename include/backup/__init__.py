"""Backup and restore of a deployment: the lake, the registry, the serving state, and the databases."""
