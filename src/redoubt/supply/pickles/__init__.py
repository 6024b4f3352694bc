"""Pickles: followed, and held to an allow-list."""
