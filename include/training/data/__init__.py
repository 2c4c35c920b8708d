"""The training data set: gold rows with their labels, split, written once, read as matrices."""
