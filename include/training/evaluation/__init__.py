"""Evaluation of a model on the test: metrics with intervals, baselines, segments, leakage and requirements."""
