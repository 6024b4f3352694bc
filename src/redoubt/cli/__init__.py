"""The only room that prints; one file per command."""

from redoubt.cli import check, init, schema
from redoubt.cli.app import main

__all__ = ["check", "init", "main", "schema"]
