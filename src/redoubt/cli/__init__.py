"""The only room that prints; one file per command."""
