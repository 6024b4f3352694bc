"""The job of the backdoor game: search a trigger for some classes by one strategy, and let the judge try it.

A function of what it says, so that its result can be kept and used again.
"""

import json
import math
from dataclasses import dataclass

import safetensors
import safetensors.torch
import torch
from torch import Generator, Tensor

from redoubt.assess.system import System, repeatable
from redoubt.attacks.backdoor.invert import TriggerSearch, everywhere
from redoubt.games.backdoor import allowed, sent
from redoubt.models import Differentiable, as_differentiable
from redoubt.records import StorageError, digest
from redoubt.records.canonical import Json

_PROBE = 40  # steps with a trigger that may cover everything


class Counting(Differentiable):
    """A model that counts what it is asked; every differentiable pass is taken to be followed by one backwards."""

    def __init__(self, model: Differentiable) -> None:
        super().__init__(model.face)
        self._model = model
        self.forwards, self.backwards = 0, 0

    def logits(self, x: Tensor) -> Tensor:
        self.forwards += len(x)
        self.backwards += len(x) if torch.is_grad_enabled() else 0
        return self._model.logits(x)

    def digest(self) -> str:
        return self._model.digest()


@dataclass(frozen=True)
class Halves:
    """Rows of the test data that are answered rightly: those to search with, and those held out.

    Attributes:
        search: rows.
        held_out: rows.
    """

    search: tuple[int, ...]
    held_out: tuple[int, ...]


@dataclass(frozen=True)
class TriggerJob:
    """One strategy, or None for triggers that may cover the whole input, for some classes.

    Attributes:
        strategy: see `TriggerSearch`.
        targets: classes.
        pixels: the most that a trigger may change.
        halves: of the test data.
        seed: the policy's.
    """

    strategy: TriggerSearch | None
    targets: tuple[int, ...]
    pixels: int
    halves: Halves
    seed: int

    clocked = "triggers"

    @property
    def name(self) -> str:
        """The strategy's."""
        return self.strategy.name if self.strategy else "the whole input"

    @property
    def standing(self) -> int:
        """Classes."""
        return len(self.targets)

    def key(self, run: str) -> str:
        """Over model, data, code and all that this says."""
        rows: list[Json] = [*self.halves.search, -1, *self.halves.held_out]
        claim: list[Json] = ["trigger", run, repr(self.strategy), [*self.targets], self.pixels, rows, self.seed]
        return digest(claim).removeprefix("sha256:")

    def perform(self, system: System) -> bytes:
        """Search, then judge."""
        model = Counting(as_differentiable(system.model))
        data, device = system.data, system.device
        x, y = (part[list(self.halves.search)].to(device) for part in (data.x, data.y))
        held_x, held_y = (part[list(self.halves.held_out)].to(device) for part in (data.x, data.y))
        claim = digest([self.seed, repr(self.strategy), [*self.targets]])
        seed = int(claim.removeprefix("sha256:")[:15], 16)
        broke, rows = "", []
        with repeatable(seed):
            rng = Generator().manual_seed(seed)
            if self.strategy is None:
                laid, flat = everywhere(model, x, self.targets, _PROBE, rng)
                proposed = list(zip(self.targets, laid, [math.nan] * len(laid), flat, strict=True))
                pixels = x[0, 0].numel()
            else:
                pixels = self.pixels
                try:
                    found = self.strategy.run(model, x, self.targets, pixels, rng)
                    proposed = [(one.target, one.trigger, one.size, one.flat) for one in found]
                except (RuntimeError, ValueError, ArithmeticError, IndexError) as error:
                    proposed, broke = [], f"{type(error).__name__}: {error}"
            for target, trigger, size, flat_share in proposed:
                mine = allowed(trigger, pixels, system.model)
                counts = [
                    *sent(system.model, x, y, mine, target),  # the judge's questions are nobody's work
                    *sent(system.model, held_x, held_y, mine, target),
                ]
                rows.append((target, mine, size, flat_share, counts))
        tensors = {
            "targets": torch.tensor([row[0] for row in rows]),
            "masks": _stacked([row[1].mask for row in rows]),
            "patterns": _stacked([row[1].pattern for row in rows]),
            "sizes": torch.tensor([row[2] for row in rows], dtype=torch.float32),
            "flat": torch.tensor([row[3] for row in rows], dtype=torch.float32),
            "counts": torch.tensor([row[4] for row in rows], dtype=torch.int64).view(-1, 4),
            "work": torch.tensor([model.forwards, model.backwards]),
        }
        content: bytes = safetensors.torch.save(
            {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, {"broke": broke}
        )
        return content


def _stacked(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts) if parts else torch.zeros(0)


@dataclass(frozen=True)
class Result:
    """What came of a job.

    Attributes:
        tensors: `targets`, `masks`, `patterns`, `sizes`, `flat`, `counts` (searched: sent, of; held out: sent, of) and
            `work` (forward and backward passes), a row for each class.
        broke: why the strategy broke off; empty if it did not.
    """

    tensors: dict[str, Tensor]
    broke: str

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Result":
        """Read back what a job wrote.

        Raises:
            StorageError: the bytes are no such result.
        """
        try:
            tensors = safetensors.torch.load(raw)
            broke = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]["broke"]
        except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
            raise StorageError(f"not a result of the backdoor game: {error}") from None
        return cls(tensors, broke)
