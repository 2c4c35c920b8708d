"""The pages that the plugin shows; imported at the first request only."""
