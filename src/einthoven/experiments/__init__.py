"""Measurements of the whole system, each against what a user would otherwise have or what was published."""
