"""Strategies, one file each, a folder per game."""
