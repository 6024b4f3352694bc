"""Signatures and signed statements."""
