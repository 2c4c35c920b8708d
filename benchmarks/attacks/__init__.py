"""Hostile requests and kills, based on published reports of faults: ``make bench NAME=attacks``."""
