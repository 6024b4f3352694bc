"""Redoubt: state what a model must withstand, measure it, harden it, keep the evidence."""

__version__ = "0.1.0"
