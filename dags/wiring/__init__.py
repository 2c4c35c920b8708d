"""Shared parts of the DAG files: days, assets, defaults, connections, the training tasks and messages."""
