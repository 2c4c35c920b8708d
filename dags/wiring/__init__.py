"""What the DAG files share: days, assets, defaults, the training task, and alerts. Nothing here computes."""
