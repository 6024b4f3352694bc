"""Analysers of the audit log: what many decisions say together that no single one does."""

from redoubt.service.analyse.analysers.drift import Drift
from redoubt.service.analyse.analysers.extraction import Extraction
from redoubt.service.analyse.analysers.membership import Membership
from redoubt.service.analyse.analysers.reconnaissance import Reconnaissance
from redoubt.service.analyse.base import Analyser, Report, Row, Suspicion
from redoubt.service.analyse.reference import Points, Reference, read_reference
from redoubt.service.analyse.run import Analysed, analyse

__all__ = [
    "Analysed",
    "Analyser",
    "Drift",
    "Extraction",
    "Membership",
    "Points",
    "Reconnaissance",
    "Reference",
    "Report",
    "Row",
    "Suspicion",
    "analyse",
    "read_reference",
]
