"""What the gallery knows of each defence."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]
"""Images `[B, 1, 28, 28]` and labels `[B]` to a loss `[B]` that an attacker raises."""


class Ground(NamedTuple):
    """What a defence is learnt from: training images `[N, 1, 28, 28]` in 0..1 with labels `[N]`, others kept out for
    thresholds, and the undefended network.  No test image."""

    plain: nn.Module
    x: Tensor
    y: Tensor
    held_x: Tensor
    held_y: Tensor


@dataclass(frozen=True)
class Aim:
    """One kind of evaluation: whose gradient is followed, and how.

    Attributes:
        words: what it is, for the table.
        loss: from the defended and the undefended module to what is ascended.
        steps: gradient steps; 1 is FGSM.
        samples: draws that each gradient is averaged over.
        restarts: random starts.
        fine: length of a step in units of the radius.
        oblivious: follow the loss to its end and never ask the defence.
        least: from the image itself, and no further than to where the loss turns positive.
    """

    words: str
    loss: Callable[[nn.Module, nn.Module], Loss]
    steps: int = 40
    samples: int = 1
    restarts: int = 1
    fine: float = 0.1
    oblivious: bool = True
    least: bool = False


@dataclass(frozen=True)
class Defence:
    """A defence of the gallery.

    Attributes:
        name: of its file here and of its weights.
        paper: where it comes from.
        build: the module without its weights; everything learnt, thresholds too, is in its `state_dict`.
        fit: learns it, in place.
        authors: their kind of evaluation.
        by_hand: an attack written for it.
        data: what it reads.
        radius: of the Linf ball that it is measured in.
    """

    name: str
    paper: str
    build: Callable[[], nn.Module]
    fit: Callable[[nn.Module, Ground], None]
    authors: Aim
    by_hand: Aim
    data: Literal["mnist", "fashion_mnist"] = "fashion_mnist"
    radius: float = 0.1
