"""The phase gates: checks of a project's data, model, production and operations, computed from the system as it is."""
