"""Tests of include/training/card."""
