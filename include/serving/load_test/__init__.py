"""A running endpoint under load: what it was asked, how it held, and whether that is what the project requires."""
