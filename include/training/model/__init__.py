"""The model itself: its contract, fit, calibration, bundle and reasons."""
