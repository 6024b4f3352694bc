"""The tests and distances that analysers share."""
