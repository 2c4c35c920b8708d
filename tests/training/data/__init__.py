"""Tests of include/training/data."""
