"""The plan of a poisoning requirement: which targets, which strategies, which jobs."""

from collections.abc import Generator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from redoubt.assess.job import ChainOf
from redoubt.assess.poisoning.jobs import CleanJob, Ground, PoisonJob, most_of, trainer_in, training_in, unpack
from redoubt.assess.setting import Setting
from redoubt.assess.system import repeatable
from redoubt.attacks.poisoning import ChosenFlips, GradientMatching, InfluencePoint, PoisoningAttack, RandomFlips
from redoubt.data import Dataset
from redoubt.models.locate import placed
from redoubt.policy.poisoning_strategies import playable_poisoning, share_of
from redoubt.records import DataError, PoisoningRequirement, digest

POISONING_SUITE: tuple[PoisoningAttack, ...] = (GradientMatching(), InfluencePoint(), ChosenFlips(), RandomFlips())
_AT_ONCE = 2000  # inputs of one query


@dataclass(frozen=True)
class Aim:
    """One target: its row in the test data, and the label that it is to get."""

    row: int
    wanted: int


@dataclass
class PoisoningPlan:
    """One requirement: what is to be done, and what came of it so far.

    Attributes:
        requirement: whose plan it is.
        ground: what its jobs share.
        data: the clean training data.
        attacks: the strategies, in order.
        aims: the targets; none where accuracy is to fall.
        clean: the result of training on clean data.
        poisoned: results by strategy, whether it knows the check, and target's row; None for no target.
    """

    requirement: PoisoningRequirement
    ground: Ground
    data: Dataset
    attacks: tuple[PoisoningAttack, ...]
    aims: tuple[Aim, ...]
    clean: dict[str, Tensor] = field(default_factory=dict)
    poisoned: dict[tuple[str, bool, int | None], dict[str, Tensor]] = field(default_factory=dict)

    @property
    def manners(self) -> list[tuple[PoisoningAttack, bool]]:
        """Each strategy, and whether it knows the check; where the data are checked, played without and with it."""
        aware = [False] if self.requirement.neighbours is None else [False, True]
        return [(attack, knows) for attack in self.attacks for knows in aware]

    @property
    def chains(self) -> list[ChainOf]:
        """A chain for each job: none waits for another."""
        jobs: list[CleanJob | PoisonJob] = [CleanJob(self.ground)]
        for attack, aware in self.manners:
            if self.aims:
                jobs += [PoisonJob(self.ground, attack, aim.row, aim.wanted, aware) for aim in self.aims]
            else:
                jobs.append(PoisonJob(self.ground, attack, None, -1, aware))
        return [(_alone(job), 1) for job in jobs]

    def take(self, job: CleanJob | PoisonJob, content: bytes) -> None:
        """Keep a result where it belongs."""
        if isinstance(job, CleanJob):
            self.clean = unpack(content)
        else:
            self.poisoned[job.attack.name, job.aware, job.row] = unpack(content)


def _alone(job: CleanJob | PoisonJob) -> Generator[CleanJob | PoisonJob, object, None]:
    yield job


def plan_poisoning(requirement: PoisoningRequirement, setting: Setting) -> PoisoningPlan:
    """Plan a requirement.

    Raises:
        DataError: the training data cannot be had, or the share is less than a row, or there are too few targets.
        ModelError: victims cannot be built.
    """
    file, system = setting.file, setting.system
    at = file.policy.requirements.index(requirement)
    with placed(lambda *keys: file.place("requirements", at, *keys), "train"):
        data = training_in(requirement, system)
        most = most_of(share_of(requirement, file.policy), len(data))
    names = playable_poisoning(requirement)
    attacks = tuple(attack for attack in POISONING_SUITE if attack.name in names)
    aims: tuple[Aim, ...] = ()
    if requirement.require.measure == "targets_flipped":
        with placed(lambda *keys: file.place("requirements", at, *keys), "targets"):
            aims = _aims(requirement.targets, setting)
    with placed(lambda *keys: file.place("requirements", at, *keys), "victims"):
        trainer = digest(trainer_in(requirement, system).describe())
    told = requirement.model_copy(update={"id": "any", "adversary": "any"})
    ground = Ground(told, data.digest, system.data.digest, trainer, most, file.policy.seed)
    return PoisoningPlan(requirement, ground, data, attacks, aims)


def _aims(count: int, setting: Setting) -> tuple[Aim, ...]:
    """Test inputs that the model answers rightly, drawn by the policy's seed, each to become its second choice.

    Where the model shows no scores, the class after the true one is wanted.
    """
    system = setting.system
    right = (setting.clean == system.data.y).nonzero().squeeze(1)
    if len(right) < count:
        raise DataError(
            f"{count} targets, but the model answers {len(right)} test inputs rightly",
            remedy=f"write targets: {len(right)}" if len(right) else "assess a model that answers something rightly",
        )
    seed = setting.file.policy.seed
    rows = right[torch.randperm(len(right), generator=torch.Generator().manual_seed(seed))[:count]].sort().values
    y = system.data.y[rows]
    with repeatable(seed):
        parts = [system.model.query(part.to(system.device)) for part in torch.split(system.data.x[rows], _AT_ONCE)]
    shown = [part.scores.cpu() for part in parts if part.scores is not None]
    if len(shown) == len(parts):
        wanted = torch.cat(shown).scatter(1, y[:, None], -torch.inf).argmax(dim=1)
    else:
        wanted = (y + 1) % system.model.face.classes
    return tuple(Aim(row, want) for row, want in zip(rows.tolist(), wanted.tolist(), strict=True))
