"""How a model comes into service: packaging, the running server, rollout and rollback."""
