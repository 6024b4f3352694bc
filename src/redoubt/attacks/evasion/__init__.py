"""Strategies for the evasion game."""
