"""The privacy game: a guarantee is audited by guessing which canaries a training saw."""

from redoubt.games.privacy.audited import Audited, audited_from
from redoubt.games.privacy.guarantee import Accounted, conclude_guarantee
from redoubt.games.privacy.judge import judge
from redoubt.games.privacy.play import Training, play_many_runs, play_one_run
from redoubt.games.privacy.tradeoff import Tradeoff, gaussian, gaussian_epsilon

__all__ = [
    "Accounted",
    "Audited",
    "Tradeoff",
    "Training",
    "audited_from",
    "conclude_guarantee",
    "gaussian",
    "gaussian_epsilon",
    "judge",
    "play_many_runs",
    "play_one_run",
]
