"""Tests of include/training/release."""
