"""The endpoint of a model, its deployment, the online store, the prediction log and the load test."""
