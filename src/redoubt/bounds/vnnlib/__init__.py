"""Properties in the format of the verification competition."""
