"""The hyperparameter search: trials, the study that stores them, and the workers that share it."""
