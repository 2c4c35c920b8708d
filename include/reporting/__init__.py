"""Reporting: the HTML base that every report and page shares."""
