"""What answers requests: the service inside the Bento and what stands before it."""
