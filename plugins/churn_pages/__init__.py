"""The pages of the plugin, which the first request imports."""
