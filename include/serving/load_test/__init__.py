"""Load tests of a running endpoint against the project's requirements."""
