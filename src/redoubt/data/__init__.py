"""Labelled data with provenance digests; loaders for files people have."""
