"""The plan of a membership requirement: who is shown, which strategies, which jobs."""

from collections.abc import Generator
from dataclasses import dataclass, field, replace

from torch import Tensor

from redoubt.assess.job import ChainOf
from redoubt.assess.membership.jobs import GROUP, RECORDS, AskJob, Scene, ShadowJob, trainer_in, unpack
from redoubt.assess.membership.records import Shown, load_shown
from redoubt.assess.setting import Setting
from redoubt.attacks.membership import (
    RMIA,
    LabelAugmentation,
    LabelNoise,
    LiRA,
    LossThreshold,
    MembershipAttack,
    OfflineLiRA,
    OfflineRMIA,
    ShadowClassifier,
)
from redoubt.records import Access, MembershipRequirement, PolicyError, digest

MEMBERSHIP_SUITE: tuple[MembershipAttack, ...] = (
    LiRA(),
    RMIA(),
    OfflineLiRA(),
    OfflineRMIA(),
    ShadowClassifier(),
    LossThreshold(),
    LabelAugmentation(),
    LabelNoise(),
)


@dataclass
class MembershipPlan:
    """One requirement: what is to be done, and what came of it so far.

    Attributes:
        requirement: whose plan it is.
        shown: the records.
        scene: what its jobs share.
        attacks: the strategies, in order.
        unaffordable: strategies that the budget buys too few queries for, and why.
        trained: results of shadow jobs by number of the first model.
        asked: results of asking, by strategy (None for the records themselves) and first record.
    """

    requirement: MembershipRequirement
    shown: Shown
    scene: Scene
    attacks: tuple[MembershipAttack, ...]
    unaffordable: dict[str, str]
    trained: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    asked: dict[tuple[str | None, int], dict[str, Tensor]] = field(default_factory=dict)

    @property
    def chains(self) -> list[ChainOf]:
        """A chain for each job: none waits for another."""
        jobs: list[ShadowJob | AskJob] = []
        models = self.requirement.shadows.models
        if any(attack.shadowed for attack in self.attacks):
            jobs += [ShadowJob(self.scene, at, min(GROUP, models - at)) for at in range(0, models, GROUP)]
        variants = [attack for attack in self.attacks if attack.needs is Access.LABEL]
        for attack in (None, *variants):
            for at in range(0, len(self.shown), RECORDS):
                jobs.append(AskJob(self.scene, attack, (at, min(at + RECORDS, len(self.shown)))))
        return [(_alone(job), 1) for job in jobs]

    def take(self, job: ShadowJob | AskJob, content: bytes) -> None:
        """Keep a result where it belongs."""
        if isinstance(job, ShadowJob):
            self.trained[job.first] = unpack(content)
        else:
            self.asked[job.attack.name if job.attack else None, job.rows[0]] = unpack(content)


def _alone(job: ShadowJob | AskJob) -> Generator[ShadowJob | AskJob, object, None]:
    yield job


def plan_membership(requirement: MembershipRequirement, setting: Setting) -> MembershipPlan:
    """Plan a requirement.

    Raises:
        PolicyError: no strategy can play it.
        DataError: the records cannot be had.
        ModelError: shadow models cannot be built.
    """
    file, system = setting.file, setting.system
    at = file.policy.requirements.index(requirement)
    adversary = file.policy.adversaries[requirement.adversary]
    access = min(adversary.access, Access.SCORES, system.model.access)
    shown = load_shown(requirement, system, lambda *keys: file.place("requirements", at, *keys))
    chosen = [
        attack
        for attack in MEMBERSHIP_SUITE
        if attack.name in (requirement.strategies or [attack.name])
        and attack.needs <= access
        and attack.refuses(system.model.face) is None
    ]
    if not chosen:
        raise PolicyError(
            f"no strategy can play this with access to {access.name.lower()} only",
            file.place("requirements", at),
            remedy="leave `strategies` out, or give the adversary observes: scores",
        )
    attacks, unaffordable = [], {}
    for attack in chosen:
        fitting = affordable(attack, adversary.budget.queries)
        if fitting is None:
            unaffordable[attack.name] = f"{adversary.budget.queries} queries for each record buy no changed copies"
        else:
            attacks.append(fitting)
    scene = Scene(
        requirement.model_copy(update={"id": "any", "adversary": "any"}), shown.digest, "", access, file.policy.seed
    )
    if any(attack.shadowed for attack in attacks):
        scene = replace(scene, trainer=digest(trainer_in(scene, system).describe()))
    return MembershipPlan(requirement, shown, scene, tuple(attacks), unaffordable)


def affordable(attack: MembershipAttack, queries: int | None) -> MembershipAttack | None:
    """The strategy, asking no more than so many times about a record; None if that is too little for it."""
    if queries is None or attack.needs is not Access.LABEL:
        return attack
    if isinstance(attack, LabelNoise):
        return replace(attack, copies=min(attack.copies, queries - 1)) if queries > 1 else None
    if isinstance(attack, LabelAugmentation):
        shift = max((s for s in range(attack.shift + 1) if (2 * s + 1) ** 2 <= queries), default=0)
        return replace(attack, shift=shift) if shift else None
    return attack
