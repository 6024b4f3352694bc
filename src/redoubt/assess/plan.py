"""The plan of one requirement: the set, the bouts, and the chains of tasks that play them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from redoubt.assess.chains import Done, play_bouts, split
from redoubt.assess.doubts import Doubts, doubts_of
from redoubt.assess.job import ChainOf
from redoubt.assess.suite import Bout, choose, nearest_for, probes_for
from redoubt.assess.system import System
from redoubt.assess.task import Purpose, Result, Task
from redoubt.attacks.evasion import Adaptive, EvasionAttack
from redoubt.perturb import NormBall, PerturbationSet, build_set
from redoubt.policy import PolicyFile
from redoubt.records import Access, EvasionRequirement, PolicyError

CURVE_SCALES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
CURVE_EXAMPLES = 200


@dataclass
class Plan:
    """One requirement: what is to be played, and what came of it so far."""

    requirement: EvasionRequirement
    within: PerturbationSet
    bouts: tuple[Bout, ...]
    right: tuple[int, ...]
    curve_rows: tuple[int, ...]
    curve_sets: tuple[tuple[float, PerturbationSet], ...]
    everything: PerturbationSet | None
    chains: list[ChainOf]
    doubts: Doubts
    rounds: list[Done] = field(default_factory=list)
    curve: list[Done] = field(default_factory=list)
    nearest: list[Done] = field(default_factory=list)

    def take(self, job: Task, content: bytes) -> Result:
        """Keep the result of a task where it belongs."""
        done = Done(job, Result.from_bytes(content))
        {"game": self.rounds, "curve": self.curve, "nearest": self.nearest}[job.purpose].append(done)
        return done.result


def make_plan(
    requirement: EvasionRequirement, system: System, clean: Tensor, suite: Sequence[EvasionAttack], file: PolicyFile
) -> Plan:
    """Plan a requirement.

    Args:
        requirement: what must hold.
        system: the system, opened.
        clean: its answers to the unperturbed inputs `[N]`.
        suite: the strategies to choose from.
        file: the policy, for places in messages.

    Raises:
        PolicyError: no strategy can play it.
    """
    at = file.policy.requirements.index(requirement)
    adversary = file.policy.adversaries[requirement.adversary]
    access = min(adversary.access, system.model.access)
    seed = file.policy.seed
    try:
        within = build_set(requirement.within, system.model.face)
        bouts = choose(within, access, requirement.strategies, suite)
    except PolicyError as error:
        raise PolicyError(error.what, file.place("requirements", at), remedy=error.remedy) from None
    right = (clean == system.data.y).nonzero().squeeze(1).tolist()

    def chains_of(purpose: Purpose, bouts: tuple[Bout, ...], rows: Sequence[int]) -> list[ChainOf]:
        return [
            (play_bouts(requirement.id, purpose, bouts, part, adversary, access, seed), len(bouts))
            for part in split(rows)
        ]

    chains = chains_of("game", bouts, right)
    curve_rows = some(len(system.data), CURVE_EXAMPLES, seed)
    curve_right = sorted(set(curve_rows) & set(right))
    sets = tuple((scale, within.scaled(scale)) for scale in CURVE_SCALES)
    # Who searches by queries alone may fail in a large set for want of queries, which says nothing of gradients.
    everything = within.everything() if access >= Access.GRADIENTS else None
    for member in within.members:
        attack = nearest_for(member, access)
        if attack and isinstance(member, NormBall):
            whole = member.whole(system.model.face.shape)
            chains += chains_of("nearest", (Bout(attack, whole),), curve_right)
    doubts = doubts_of(system, within, curve_right, adversary.access >= Access.GRADIENTS)
    doubtful = doubts.blind and any(bout.attack.name == Adaptive.name for bout in bouts)
    for part in [part for _, part in sets] + ([everything] if everything else []):
        chains += chains_of("curve", probes_for(part, access, doubtful=doubtful), curve_right)
    return Plan(requirement, within, bouts, tuple(right), curve_rows, sets, everything, chains, doubts)


def some(size: int, most: int, seed: int) -> tuple[int, ...]:
    """At most that many rows, drawn at random: evenly spaced ones would miss classes of data in a regular order."""
    return tuple(torch.randperm(size, generator=Generator().manual_seed(seed))[:most].sort().values.tolist())
