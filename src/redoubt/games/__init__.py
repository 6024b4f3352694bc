"""The rules of each game: who sees what, who won, which measures, with confidence intervals."""

from redoubt.games.evasion import Round, play, play_round
from redoubt.games.invariance import Invariance, find_invariance
from redoubt.games.measures import clopper_pearson, evasion_measures, measured
from redoubt.games.verdict import conclude

__all__ = [
    "Invariance",
    "Round",
    "clopper_pearson",
    "conclude",
    "evasion_measures",
    "find_invariance",
    "measured",
    "play",
    "play_round",
]
