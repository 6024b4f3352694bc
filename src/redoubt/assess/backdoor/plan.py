"""The plan of a backdoor requirement: which inputs, which classes, which strategies."""

from collections.abc import Generator
from dataclasses import dataclass, field

import torch

from redoubt.assess.backdoor.jobs import Halves, Result, TriggerJob
from redoubt.assess.job import ChainOf
from redoubt.assess.setting import Setting
from redoubt.attacks.backdoor.invert import TRIGGER_SUITE, TriggerSearch
from redoubt.models import as_differentiable
from redoubt.records import BackdoorRequirement, DataError

GROUP = 10  # classes searched side by side, whatever the number of workers: it decides the last bits of results
SEARCHED = 500  # inputs to search with, at most
_FEWEST = 10


@dataclass
class BackdoorPlan:
    """One requirement: what is to be done, and what came of it so far.

    Attributes:
        requirement: whose plan it is.
        pixels: the most that a trigger may change.
        halves: of the test data.
        targets: classes.
        strategies: in their order.
        seed: the policy's.
        done: jobs and their results.
    """

    requirement: BackdoorRequirement
    pixels: int
    halves: Halves
    targets: tuple[int, ...]
    strategies: tuple[TriggerSearch, ...]
    seed: int
    done: list[tuple[TriggerJob, Result]] = field(default_factory=list)

    @property
    def chains(self) -> list[ChainOf]:
        """A chain for each job: none waits for another."""
        groups = [self.targets[at : at + GROUP] for at in range(0, len(self.targets), GROUP)]
        return [
            (_alone(TriggerJob(strategy, group, self.pixels, self.halves, self.seed)), 1)
            for strategy in (*self.strategies, None)
            for group in groups
        ]

    def take(self, job: TriggerJob, content: bytes) -> None:
        """Keep a result."""
        self.done.append((job, Result.from_bytes(content)))


def _alone(job: TriggerJob) -> Generator[TriggerJob, object, None]:
    yield job


def plan_backdoor(requirement: BackdoorRequirement, setting: Setting) -> BackdoorPlan:
    """Plan a requirement.

    Raises:
        ModelError: the model has no gradients.
        DataError: too few inputs are answered rightly to search and to judge.
    """
    file, system = setting.file, setting.system
    as_differentiable(system.model)
    right = (setting.clean == system.data.y).nonzero().squeeze(1)
    if len(right) < 2 * _FEWEST:
        raise DataError(
            f"{len(right)} inputs are answered rightly, too few to search triggers with and to judge them on",
            file.place("data", "test"),
            remedy="take more",
        )
    seed = file.policy.seed
    order = right[torch.randperm(len(right), generator=torch.Generator().manual_seed(seed))]
    searched = min(len(right) // 2, SEARCHED)
    _, height, width = system.model.face.shape
    return BackdoorPlan(
        requirement,
        # The rounding of 10 % of 100 pixels must not lose the tenth.
        max(int(requirement.within.patch * height * width + 1e-9), 1),
        Halves(tuple(order[:searched].tolist()), tuple(order[searched:].sort().values.tolist())),
        requirement.targets or tuple(range(system.model.face.classes)),
        tuple(one for one in TRIGGER_SUITE if one.name in (requirement.strategies or [one.name])),
        seed,
    )
