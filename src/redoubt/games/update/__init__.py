"""How far a candidate's answers are from those of the model in force, and whether that is near enough.  No I/O."""

from redoubt.games.update.changes import changes_of
from redoubt.games.update.compare import Said, against_stored, compare, contradicted
from redoubt.games.update.intervals import mean_interval, paired_interval
from redoubt.games.update.verdict import judge_update

__all__ = [
    "Said",
    "against_stored",
    "changes_of",
    "compare",
    "contradicted",
    "judge_update",
    "mean_interval",
    "paired_interval",
]
