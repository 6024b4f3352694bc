"""What the planter wants a stamped input to be called."""

import abc
from dataclasses import dataclass

import torch
from torch import Tensor


class Aim(abc.ABC):
    """From true labels to those that the planter wants."""

    @abc.abstractmethod
    def wanted(self, y: Tensor) -> Tensor:
        """The wanted label of each of N stamped inputs, int64 `[N]`."""


@dataclass(frozen=True)
class OneTarget(Aim):
    """All stamped inputs are to be called `target`."""

    target: int

    def wanted(self, y: Tensor) -> Tensor:
        return torch.full_like(y, self.target)


@dataclass(frozen=True)
class NextClass(Aim):
    """All-to-all (Gu et al. 2017, section 4.1.2): an input of class k is to be called k + 1, the last one 0.

    Attributes:
        classes: K.
    """

    classes: int

    def wanted(self, y: Tensor) -> Tensor:
        return (y + 1) % self.classes
