"""Tests of include/training/judgement."""
