"""Versions of raw data: store the rows behind each training with DVC, and rebuild training sets from them."""
