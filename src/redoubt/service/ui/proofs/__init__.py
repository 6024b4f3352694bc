"""The log, read from its files and checked in front of the reader."""
