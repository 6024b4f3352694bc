"""PATE: teachers on disjoint records vote, with noise, for the labels that a student learns from."""

from redoubt.harden.pate.aggregate import Aggregator, Answers, Confident, Gaussian, Interactive, Laplace, ask
from redoubt.harden.pate.consistency import Course, learn_consistent
from redoubt.harden.pate.cost import Cost, Released, cost_of, release
from redoubt.harden.pate.graph import Graph, Principal, Smoothed
from redoubt.harden.pate.student import Student, learn
from redoubt.harden.pate.teachers import Ridge, cast_votes, partition

__all__ = [
    "Aggregator",
    "Answers",
    "Confident",
    "Cost",
    "Course",
    "Gaussian",
    "Graph",
    "Interactive",
    "Laplace",
    "Principal",
    "Released",
    "Ridge",
    "Smoothed",
    "Student",
    "ask",
    "cast_votes",
    "cost_of",
    "learn",
    "learn_consistent",
    "partition",
    "release",
]
