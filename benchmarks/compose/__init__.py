"""The Compose project under test: ``make compose-test``."""
