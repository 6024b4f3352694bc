"""The jobs of the poisoning game: train victims on clean data; make poison for one target and train victims on it.

Each is a function of what it says, so that its result can be kept and used again.  The assessed model has no part in
them beyond the choice of targets.
"""

import dataclasses
from dataclasses import dataclass

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from redoubt.assess.system import System, code_digest, repeatable, versions
from redoubt.attacks.membership.shadows import Trainer
from redoubt.attacks.membership.shadows.build import trainer_for
from redoubt.attacks.poisoning import (
    NothingToChangeError,
    PoisoningAttack,
    Scene,
    Surrogate,
    Target,
    answers_after,
    rows_allowed,
    surrogates_of,
)
from redoubt.data import Dataset, load_data
from redoubt.detectors.poison.label_check import agreeing, kept_rows, passing
from redoubt.games.poisoning import admitted
from redoubt.models.adapter import Adapter
from redoubt.models.locate import nowhere
from redoubt.records import DataError, PoisoningRequirement, RedoubtError, StorageError, digest
from redoubt.records.canonical import Json

SURROGATES = 2


@dataclass(frozen=True)
class Ground:
    """What all jobs of a requirement share; small, for it travels to other processes.

    Attributes:
        requirement: whose game it is.
        train: digest of the training data.
        asked: digest of the test data.
        trainer: digest of what trains victims.
        most: rows that the adversary may change.
        seed: the policy's.
    """

    requirement: PoisoningRequirement
    train: str
    asked: str
    trainer: str
    most: int
    seed: int

    @property
    def claim(self) -> list[Json]:
        """All of it that decides what victims of clean data say."""
        victims, checked = self.requirement.victims.models, self.requirement.neighbours
        return [self.train, self.asked, self.trainer, victims, checked, self.seed, code_digest(), versions()]

    @property
    def victims(self) -> list[int]:
        """A seed for each victim, of which the adversary is not told."""
        return [_seed(self.seed, "victim", at) for at in range(self.requirement.victims.models)]


@dataclass(frozen=True)
class Ready:
    """What is made once in each process: the data, what trains victims, and what the adversary has."""

    trainer: Trainer
    adapter: Adapter
    scene: Scene


def trainer_in(requirement: PoisoningRequirement, system: System) -> Trainer:
    """What trains victims."""
    return trainer_for(requirement.victims, system.policy.model, system.model, system.base, nowhere, "victims")


def training_in(requirement: PoisoningRequirement, system: System) -> Dataset:
    """What victims are trained on.

    Raises:
        DataError: it cannot be read, does not fit the model, or is not named.
    """
    source = requirement.train or system.policy.data.train
    if source is None:
        raise DataError("poisoning needs data that victims are trained on", remedy="add train under data")
    return load_data(source, system.model.face, system.base, nowhere)


_KEPT: dict[tuple[int, str], Ready] = {}  # of one requirement at a time


def ready_in(ground: Ground, system: System) -> Ready:
    """The data, and the adversary's models, trained once in each process.

    Raises:
        StorageError: the data are not those that the job was made for.
    """
    key = (id(system), digest([*ground.claim, ground.most, ground.requirement.radius]))
    if key not in _KEPT:
        _KEPT.clear()
        requirement = ground.requirement
        data, trainer = training_in(requirement, system), trainer_in(requirement, system)
        if data.digest != ground.train:
            raise StorageError("the training data changed while they were being assessed", remedy="run it again")
        adapter, face = Adapter.of(system.policy.model), system.model.face
        seeds = [_seed(ground.seed, "surrogate", at) for at in range(SURROGATES)]
        with repeatable(seeds[0]):
            own = surrogates_of(trainer, data, seeds, adapter)
        may = None
        if requirement.neighbours is not None:
            may = passing(own[0].look(data.x), data.y, face.classes, requirement.neighbours)
        scene = Scene(data, face.classes, (face.low, face.high), ground.most, own, requirement.radius, may)
        _KEPT[key] = Ready(trainer, adapter, scene)
    return _KEPT[key]


@dataclass(frozen=True)
class CleanJob:
    """Train victims on the clean data, and ask them about the test inputs."""

    ground: Ground

    name = "victims of clean data"
    clocked = "victims of clean data"

    @property
    def standing(self) -> int:
        """Victims."""
        return self.ground.requirement.victims.models

    def key(self, run: str) -> str:
        """Over recipe, data, seed, code and libraries; not over the model."""
        return digest(["clean victims", *self.ground.claim]).removeprefix("sha256:")

    def perform(self, system: System) -> bytes:
        """Train and ask."""
        with repeatable(self.ground.seed):
            data = training_in(self.ground.requirement, system)
            return _trained(self.ground, trainer_in(self.ground.requirement, system), data, None, system)


@dataclass(frozen=True)
class PoisonJob:
    """Make poison, train victims on it, and ask them.

    Attributes:
        ground: see `Ground`.
        attack: what makes the poison.
        row: the target, a row of the test data; None for none.
        wanted: the label that it is to get.
        aware: whether the adversary knows the check that the data go through.
    """

    ground: Ground
    attack: PoisoningAttack
    row: int | None
    wanted: int
    aware: bool = False

    @property
    def name(self) -> str:
        """The strategy's."""
        return self.attack.name

    @property
    def clocked(self) -> str:
        """The strategy's."""
        return self.attack.name

    @property
    def standing(self) -> int:
        """Targets."""
        return 1

    def key(self, run: str) -> str:
        """Over the target and the strategy too."""
        ground = self.ground
        radius = ground.requirement.radius
        what: list[Json] = [repr(self.attack), self.row, self.wanted, self.aware, ground.most, radius, SURROGATES]
        return digest(["poison", *ground.claim, *what]).removeprefix("sha256:")

    def perform(self, system: System) -> bytes:
        """Make it, train and ask; where the strategy breaks, say why.

        An adversary who knows the check, and finds nothing that passes it, does what one who does not know it does.
        """
        ready = ready_in(self.ground, system)
        scene, target = ready.scene, None
        if not self.aware:
            scene = dataclasses.replace(scene, passing=None)
        if self.row is not None:
            target = Target(system.data.x[self.row], int(system.data.y[self.row]), self.wanted)
        seed = _seed(self.ground.seed, self.attack.name, -1 if self.row is None else self.row)
        with repeatable(seed):
            try:
                found = admitted(scene, self.attack.poison(scene, target, seed))
                if not bool(found.rows.any()):
                    raise NothingToChangeError("it changed no row that it may change")
            except NothingToChangeError as error:
                return _pack({"idle": torch.ones(1)}) if self.aware else _broke(error)
            except (RedoubtError, RuntimeError, ValueError, ArithmeticError, IndexError) as error:
                return _broke(error)
            return _trained(self.ground, ready.trainer, found.data, found.rows, system)


def _trained(ground: Ground, trainer: Trainer, data: Dataset, rows: Tensor | None, system: System) -> bytes:
    """What victims of these data say of the test inputs, after the check that the requirement asks for."""
    changed = torch.zeros(len(data), dtype=torch.bool) if rows is None else rows
    kept, k = torch.ones_like(changed), ground.requirement.neighbours
    if k is not None:
        adapter, classes = Adapter.of(system.policy.model), system.model.face.classes
        own: Surrogate = surrogates_of(trainer, data, [_seed(ground.seed, "check", 0)], adapter)[0]
        kept = agreeing(own.look(data.x), data.y, classes, k)
        data = kept_rows(data, kept)
    said = answers_after(trainer, data, system.data.x, ground.victims)
    return _pack({"said": said.int(), "rows": changed, "kept": kept})


def _broke(error: Exception) -> bytes:
    """Why a strategy could not be played."""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return _pack({"broke": torch.tensor(list(said.encode()[:300]))})


def most_of(share: float, rows: int) -> int:
    """Rows that the adversary may change.

    Raises:
        DataError: not one.
    """
    most = rows_allowed(share, rows)
    if most < 1:
        raise DataError(
            f"{share:.4%} of {rows} training rows is less than one row", remedy="take more rows, or a greater share"
        )
    return most


def unpack(content: bytes) -> dict[str, Tensor]:
    """The tensors of a result.

    Raises:
        StorageError: the bytes are no such result.
    """
    try:
        found: dict[str, Tensor] = safetensors.torch.load(content)
    except (ValueError, safetensors.SafetensorError) as error:
        raise StorageError(f"not a result of the poisoning game: {error}") from None
    return found


def _pack(tensors: dict[str, Tensor]) -> bytes:
    content: bytes = safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})
    return content


def _seed(seed: int, role: str, at: int) -> int:
    return int(digest([seed, role, at])[7:15], 16)
