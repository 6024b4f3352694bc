"""Formats of arrays and nothing else."""
