"""Tests of include/training."""
