"""Artefacts: scan, sign, verify, attest, and the gate that every loader of a model reads through."""

from redoubt.supply.findings import UNDECIDED, Finding, Judgement, Kind
from redoubt.supply.gate import Gate
from redoubt.supply.judge import judge
from redoubt.supply.scan import scan

__all__ = ["UNDECIDED", "Finding", "Gate", "Judgement", "Kind", "judge", "scan"]
