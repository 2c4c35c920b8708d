"""How good a model is, with how much chance, for whom, and whether it leaks."""
