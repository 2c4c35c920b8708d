"""Tests of include/training/tuning."""
