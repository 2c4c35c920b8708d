"""The model card: Markdown, and a page with plots."""
