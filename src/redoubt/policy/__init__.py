"""Text to Policy: YAML 1.2 with positions, messages that name file, line and remedy, plain words."""
