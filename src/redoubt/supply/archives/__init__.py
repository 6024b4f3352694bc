"""Formats that are archives of others."""
