"""Tests of include/training/model."""
