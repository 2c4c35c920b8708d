"""Retention: the customers to contact each day, ordered by their churn risk."""
