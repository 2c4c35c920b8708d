"""Tests of include/training/fitting."""
