"""Versions of raw data: store the rows behind each training with DVC, and rebuild data sets from them."""
