"""Tests of include/training/evaluation."""
