"""Evaluation of a model on the test set: metrics with intervals, baselines, segments, leakage and requirements."""
