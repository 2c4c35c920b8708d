"""Fitting: the booster and its calibrator."""
