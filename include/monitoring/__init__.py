"""Production, watched: drift, realised performance, reports, alerts, metrics, and when to train again."""
