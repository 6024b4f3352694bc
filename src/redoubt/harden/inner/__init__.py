"""Inner maximisers: the worst points of a set, as training looks for them."""

from redoubt.harden.inner.ascend import ascend
from redoubt.harden.inner.steepest import steepest
from redoubt.harden.inner.task import Objective, Task, cross_entropy, draw_starts
from redoubt.harden.inner.union import Starts, starts_for, worst_points
from redoubt.harden.inner.worst_of import worst_of

__all__ = [
    "Objective",
    "Starts",
    "Task",
    "ascend",
    "cross_entropy",
    "draw_starts",
    "starts_for",
    "steepest",
    "worst_of",
    "worst_points",
]
