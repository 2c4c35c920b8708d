"""The search for hyperparameters, shared by workers."""
