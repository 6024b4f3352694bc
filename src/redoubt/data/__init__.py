"""Labelled data with provenance digests; loaders for files people have."""

from redoubt.data.base import Dataset
from redoubt.data.bundled import SETS
from redoubt.data.load import digest_of, load_data

__all__ = ["SETS", "Dataset", "digest_of", "load_data"]
