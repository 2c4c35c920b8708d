"""The time-lapse: a simulated business under the real DAGs, with a change of the causes of churn."""
