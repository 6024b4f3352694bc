"""Formats of graphs of operators."""
