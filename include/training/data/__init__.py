"""The training data set: labelled gold rows, split into training and test, as files and as matrices."""
