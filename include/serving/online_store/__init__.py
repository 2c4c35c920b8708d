"""The newest features of each customer, for requests that name a customer and nothing else."""
