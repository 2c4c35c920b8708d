"""The upgrade of a deployment whose data an earlier release wrote."""
