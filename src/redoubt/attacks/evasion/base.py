"""The one open type of the evasion room."""

import abc
import dataclasses
from typing import ClassVar

from torch import Generator, Tensor

from redoubt.models.meter import Metered
from redoubt.perturb.base import PerturbationSet
from redoubt.records import Access, Budget


class EvasionAttack(abc.ABC):
    """A strategy that looks for a wrongly answered point of a perturbation set, for each input.

    Write a frozen dataclass whose fields are the attack's parameters, and `run`.  It holds no state between calls, it
    never sees a policy, and nobody believes it: the game projects what it proposes, asks the model again and decides.

    Attributes:
        name: as evidence and policies name it.
        needs: the least access it can be played with.
        averages: whether it copes with sets that leave something to chance: it moves by `draw`, not by `render`.
        adaptive: whether it knows of a guard and of several accounts, and acts on it.
    """

    name: ClassVar[str]
    needs: ClassVar[Access]
    adaptive: ClassVar[bool] = False
    averages: ClassVar[bool] = False

    @abc.abstractmethod
    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        """Propose a point of `within` for each input.

        Args:
            model: the adversary's handle, for exactly these B examples.
            x: clean inputs `[B, *shape]`, which the model answers rightly.
            y: true labels, int64 `[B]`.
            within: the set to move in.
            budget: what each example may still cost; `model` enforces it.
            rng: the only source of randomness, on the CPU.

        Returns:
            Points `[B, ...]` in the coordinates of `within`.
        """

    def refuses(self, within: PerturbationSet) -> str | None:
        """Why this strategy cannot move in that set; None if it can."""
        if within.vote.draws > 1 and not self.averages:
            return f"{within} leaves something to chance, which {self.name} does not average over"
        if self.needs is Access.GRADIENTS and not within.smooth:
            return f"{within} gives no slope to follow"
        return None

    @property
    def parameters(self) -> dict[str, bool | int | float | str | None]:
        """The dataclass fields, for the evidence."""
        return dataclasses.asdict(self) if dataclasses.is_dataclass(self) else {}
