"""Hostile requests and kills, modelled on public fault reports: ``make bench NAME=attacks``."""
