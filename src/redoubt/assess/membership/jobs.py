"""The jobs of the membership game: train some shadow models, ask the target about some records.

Each is a function of what it says, so that its result can be kept and used again.  What a shadow model says does not
depend on the target at all: when the target is trained again, or more shadow models are wanted, those that are there
stay.
"""

from dataclasses import dataclass

import safetensors
import safetensors.torch
import torch
from torch import Generator, Tensor

from redoubt.assess.membership.records import Shown, load_shown
from redoubt.assess.system import System, code_digest, repeatable, versions
from redoubt.attacks.membership import MembershipAttack, greatest, halves, scaled_confidence
from redoubt.attacks.membership.shadows import Trainer, trainer_for
from redoubt.models.locate import nowhere
from redoubt.records import Access, MembershipRequirement, StorageError, digest
from redoubt.records.canonical import Json

GROUP = 8  # shadow models trained side by side, whatever the number of workers: it decides the last bits of results
RECORDS = 250  # asked about in one job
_AT_ONCE = 2000  # inputs of one query


@dataclass(frozen=True)
class Scene:
    """What all jobs of a requirement share; small, for it travels to other processes.

    Attributes:
        requirement: whose game it is.
        shown: digest of the records.
        trainer: digest of what trains shadow models; empty where none are.
        access: what the adversary may see of the target.
        seed: the policy's.
    """

    requirement: MembershipRequirement
    shown: str
    trainer: str
    access: Access
    seed: int


_KEPT: dict[tuple[int, str], Shown] = {}  # of one system at a time


def shown_in(scene: Scene, system: System) -> Shown:
    """The records, read once in each process.

    Raises:
        StorageError: they are not those that the job was made for.
    """
    key = (id(system), scene.shown)
    if key not in _KEPT:
        _KEPT.clear()
        _KEPT[key] = load_shown(scene.requirement, system, nowhere)
    if _KEPT[key].digest != scene.shown:
        raise StorageError("the records changed while they were being assessed", remedy="run it again")
    return _KEPT[key]


def trainer_in(scene: Scene, system: System) -> Trainer:
    """What trains shadow models."""
    requirement = scene.requirement
    return trainer_for(requirement.shadows, system.policy.model, system.model, system.base, nowhere)


@dataclass(frozen=True)
class ShadowJob:
    """Train some shadow models, and ask them about every record.

    Attributes:
        scene: see `Scene`.
        first: number of the first of them.
        count: how many.
    """

    scene: Scene
    first: int
    count: int

    name = "shadow models"
    clocked = "shadow models"

    @property
    def standing(self) -> int:
        """Models."""
        return self.count

    def key(self, run: str) -> str:
        """Over recipe, records, seed, code and libraries; not over the target, which has no part in it."""
        scene = self.scene
        code: list[Json] = [code_digest(), versions()]
        claim: list[Json] = ["shadows", scene.trainer, scene.shown, scene.seed, self.first, self.count, *code]
        return digest(claim).removeprefix("sha256:")

    def perform(self, system: System) -> bytes:
        """Train and ask."""
        shown, seed = shown_in(self.scene, system), self.scene.seed
        inside = halves(self.first + self.count + self.count % 2, len(shown), seed)[
            self.first : self.first + self.count
        ]
        seeds = [int(digest([seed, "shadow", self.first + at])[7:15], 16) for at in range(self.count)]
        with repeatable(seeds[0]):
            scores = trainer_in(self.scene, system).scores(shown.x, shown.y, inside, seeds)
        right = scores.argmax(dim=2) == shown.y
        return _pack(
            confidence=scaled_confidence(scores, shown.y), greatest=greatest(scores), inside=inside, right=right
        )


@dataclass(frozen=True)
class AskJob:
    """Ask the target about some records, or what a strategy makes of them.

    Attributes:
        scene: see `Scene`.
        attack: whose variants are asked; None for the records themselves.
        rows: first record, and the first beyond.
    """

    scene: Scene
    attack: MembershipAttack | None
    rows: tuple[int, int]

    clocked = "asking"

    @property
    def name(self) -> str:
        """The strategy's, or what is asked."""
        return self.attack.name if self.attack else "asking the target"

    @property
    def standing(self) -> int:
        """Records."""
        return self.rows[1] - self.rows[0]

    def key(self, run: str) -> str:
        """Over the target too."""
        scene = self.scene
        attack = repr(self.attack)
        return digest(["ask", run, scene.shown, attack, scene.access.name, scene.seed, self.rows]).removeprefix(
            "sha256:"
        )

    def perform(self, system: System) -> bytes:
        """Ask."""
        shown = shown_in(self.scene, system)
        rows = slice(*self.rows)
        x, y = shown.x[rows], shown.y[rows]
        if self.attack is None:
            asked = x.unsqueeze(1)
        else:
            asked = self.attack.variants(x, system.model.face, Generator().manual_seed(self.scene.seed))
        found = []
        with repeatable(self.scene.seed):
            for part in torch.split(asked.flatten(0, 1), _AT_ONCE):
                found.append(system.model.query(part.to(system.device)))
        labels = torch.cat([answer.labels.cpu() for answer in found]).view(len(x), -1)
        refused = torch.cat([answer.refused.cpu() for answer in found]).view(len(x), -1)
        tensors = {"right": (labels == y[:, None]) & ~refused, "refused": refused}
        scores = [answer.scores for answer in found if answer.scores is not None]
        if self.scene.access >= Access.SCORES and len(scores) == len(found):
            seen = torch.cat(scores).cpu().view(len(x), asked.shape[1], -1)
            tensors["confidence"] = torch.stack([scaled_confidence(one, y) for one in seen.unbind(1)], dim=1)
            tensors["greatest"] = greatest(seen[:, 0])
        return _pack(**tensors)


def unpack(content: bytes) -> dict[str, Tensor]:
    """The tensors of a result.

    Raises:
        StorageError: the bytes are no such result.
    """
    try:
        found = safetensors.torch.load(content)
    except (ValueError, safetensors.SafetensorError) as error:
        raise StorageError(f"not a result of the membership game: {error}") from None
    return {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in found.items()}


def _pack(**tensors: Tensor) -> bytes:
    kept = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    content: bytes = safetensors.torch.save({name: tensor.contiguous() for name, tensor in kept.items()})
    return content
