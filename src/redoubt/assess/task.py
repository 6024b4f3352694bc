"""One task: one strategy against some examples.  A pure function of its claim, so its result can be kept and reused."""

import json
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

import safetensors.torch
import torch
from torch import Tensor

from redoubt.assess.system import System, repeatable
from redoubt.attacks.evasion import EvasionAttack
from redoubt.games import play_round
from redoubt.models.meter import Meter
from redoubt.perturb import PerturbationSet
from redoubt.records import Access, Budget, Found, StorageError, digest

Purpose: TypeAlias = Literal["game", "curve", "nearest"]

_METER = tuple(field.name for field in fields(Meter) if field.name != "notes")


@dataclass(frozen=True)
class Task:
    """What is to be done; equal tasks have equal results, wherever and whenever they run.

    Attributes:
        requirement: id of the requirement it belongs to.
        purpose: part of the game itself, of the probes at some radii, or of the search for the nearest wrong answers.
        attack: the strategy.
        within: the set it moves in, one member only.
        access: what the adversary may see.
        rows: which examples of the data, all answered rightly when unperturbed.
        budget: what each of them may still cost.
        seed: the policy's.
    """

    requirement: str
    purpose: Purpose
    attack: EvasionAttack
    within: PerturbationSet
    access: Access
    rows: tuple[int, ...]
    budget: Budget
    seed: int

    def key(self, run: str) -> str:
        """Name of the result within evidence over `run`, the digest of model, data and code; 64 hex digits.

        The requirement's id is no part of it, nor is its bound: renaming or re-bounding redoes no work.
        """
        kind = type(self.attack)
        claim = {
            "run": run,
            "attack": f"{kind.__module__}.{self.attack!r}",
            "within": repr(self.within),
            "access": self.access.name,
            "rows": list(self.rows),
            "passes": self.budget.passes,
            "queries": self.budget.queries,
            "seed": self.seed,
        }
        return digest(claim).removeprefix("sha256:")

    @property
    def name(self) -> str:
        """The strategy's."""
        return self.attack.name

    @property
    def clocked(self) -> str:
        """The strategy's name in the game, and one word for all that is played beside it."""
        return self.attack.name if self.purpose == "game" else "curve"

    @property
    def standing(self) -> int:
        """Examples that it is played against."""
        return len(self.rows)

    def perform(self, system: System) -> bytes:
        """Play it."""
        return run_task(system, self).to_bytes()

    def generator(self) -> torch.Generator:
        """The task's own randomness, derived from the policy's seed and what the task is."""
        return self._generator()

    def nature(self) -> torch.Generator:
        """The judge's randomness in this task, which the strategy never sees."""
        return self._generator("nature")

    def _generator(self, *whose: str) -> torch.Generator:
        claim = digest([self.seed, f"{self.attack!r}", repr(self.within), self.rows[0], len(self.rows), *whose])
        return torch.Generator().manual_seed(int(claim.removeprefix("sha256:")[:15], 16))


@dataclass(frozen=True)
class Result:
    """What came of a task; rows as in the task.

    Attributes:
        fooled: bool `[B]`.
        answers: int64 `[B]`.
        size: float32 `[B]`, in units of the radius.
        perturbed: float32 `[F, *shape]`, of the F fooled rows only, in order.
        meter: per row.
        broke: why the strategy broke, if it did.
    """

    fooled: Tensor
    answers: Tensor
    size: Tensor
    perturbed: Tensor
    meter: Meter
    broke: str | None

    def to_bytes(self) -> bytes:
        """As a safetensors file."""
        tensors = {name: getattr(self.meter, name) for name in _METER}
        tensors |= {"fooled": self.fooled, "answers": self.answers, "size": self.size, "perturbed": self.perturbed}
        notes = [note.model_dump(mode="json") for note in self.meter.notes]
        metadata = {"broke": json.dumps(self.broke), "notes": json.dumps(notes)}
        content: bytes = safetensors.torch.save({k: v.contiguous().cpu() for k, v in tensors.items()}, metadata)
        return content

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Result":
        """Read back what `to_bytes` wrote.

        Raises:
            StorageError: the bytes are no such result.
        """
        try:
            tensors = safetensors.torch.load(raw)
            header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
            broke = json.loads(header["__metadata__"]["broke"])
            notes = [Found.model_validate(note) for note in json.loads(header["__metadata__"]["notes"])]
            meter = Meter(**{name: tensors[name] for name in _METER}, notes=notes)
            return cls(tensors["fooled"], tensors["answers"], tensors["size"], tensors["perturbed"], meter, broke)
        except (KeyError, ValueError, TypeError, safetensors.SafetensorError) as error:
            raise StorageError(f"not a task result: {error}") from None


def run_task(system: System, task: Task) -> Result:
    """Play the task."""
    rows = torch.tensor(task.rows)
    x, y = system.data.x[rows].to(system.device), system.data.y[rows].to(system.device)
    rng, nature = task.generator(), task.nature()
    with repeatable(rng.initial_seed()):
        played = play_round(system.model, task.attack, x, y, task.within, task.access, task.budget, rng, nature)
    return Result(
        played.fooled.cpu(),
        played.answers.cpu(),
        played.size.float().cpu(),
        played.perturbed[played.fooled].float().cpu(),
        played.meter,
        played.broke,
    )
