"""Provenance of a model: a signed statement with the checksums of everything between its raw data and its image."""
