"""The model card, as Markdown and as an HTML page with plots."""
