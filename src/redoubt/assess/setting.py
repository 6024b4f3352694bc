"""What planning and concluding need to know of the assessment, whichever game it is."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from redoubt.assess.execute import Progress
from redoubt.assess.store import TaskStore
from redoubt.assess.system import System
from redoubt.assess.through import Through
from redoubt.attacks.evasion import EvasionAttack
from redoubt.data import Dataset
from redoubt.policy import PolicyFile


@dataclass(frozen=True)
class Setting:
    """An assessment that is open.

    Attributes:
        file: the policy as read.
        system: model and data.
        clean: the model's answers to the test data, int64 `[N]`.
        train: the training data, if the policy names any.
        suite: evasion strategies to choose from, in order.
        store: where results of tasks are kept.
        progress: hears how it goes on.
        through: a guarded system to play through as well, if any.
    """

    file: PolicyFile
    system: System
    clean: Tensor
    train: Dataset | None
    suite: Sequence[EvasionAttack]
    store: TaskStore
    progress: Progress
    through: Through | None
