"""A trained model: its input contract, its bundle of files, its predictions and their explanations."""
