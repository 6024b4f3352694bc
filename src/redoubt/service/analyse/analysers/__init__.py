"""One analyser a file."""
