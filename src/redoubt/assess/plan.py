"""The plan of one requirement: the set, the bouts, and the chains of tasks that play them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from redoubt.assess.chains import Chain, Done, game_chain, single, split
from redoubt.assess.suite import Bout, choose, probe_for
from redoubt.assess.system import System
from redoubt.assess.task import Task
from redoubt.attacks.evasion import EvasionAttack
from redoubt.perturb import PerturbationSet, build_set
from redoubt.policy import PolicyFile
from redoubt.records import Access, Budget, PolicyError, Requirement

CURVE_SCALES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
CURVE_EXAMPLES = 200


@dataclass
class Plan:
    """One requirement: what is to be played, and what came of it so far."""

    requirement: Requirement
    within: PerturbationSet
    bouts: tuple[Bout, ...]
    curve_rows: tuple[int, ...]
    curve_sets: tuple[tuple[float, PerturbationSet], ...]
    everything: PerturbationSet | None
    chains: list[tuple[Chain, int]]  # and the most tasks each may take
    rounds: list[Done] = field(default_factory=list)
    curve: list[Done] = field(default_factory=list)


def make_plan(
    requirement: Requirement, system: System, clean: Tensor, suite: Sequence[EvasionAttack], file: PolicyFile
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
    chains = [(game_chain(requirement.id, bouts, rows, adversary, access, seed), len(bouts)) for rows in split(right)]
    curve_rows = _evenly(len(system.data), CURVE_EXAMPLES)
    curve_right = tuple(sorted(set(curve_rows) & set(right)))
    sets = tuple((scale, within.scaled(scale)) for scale in CURVE_SCALES)
    probe = probe_for(within, access)
    everything = within.everything() if access > Access.LABEL else None
    for part in [part for _, part in sets] + ([everything] if everything else []):
        if curve_right:
            task = Task(requirement.id, "curve", probe, part, access, curve_right, Budget(), seed)
            chains.append((single(task), 1))
    return Plan(requirement, within, bouts, curve_rows, sets, everything, chains)


def _evenly(size: int, most: int) -> tuple[int, ...]:
    """At most that many rows, evenly spaced."""
    return tuple(sorted({i * size // min(size, most) for i in range(min(size, most))}))
