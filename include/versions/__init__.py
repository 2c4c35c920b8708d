"""Versions of raw data: which rows a model was trained on, kept with DVC, and its training set rebuilt from them."""
