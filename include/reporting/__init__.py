"""The HTML base of every report and page: layout, style, badges, tables and plots."""

from include.reporting.page import Page, Plot, Section, Table
from include.reporting.rendering import html_templates

__all__ = ["Page", "Plot", "Section", "Table", "html_templates"]
