"""What the search may have its steps climb: losses of the answer, of the answer and a detector, and collisions.

Every scale is the model's own, measured on clean inputs, so that no objective needs a constant of the defence.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from redoubt.attacks.evasion.losses import dlr, margin
from redoubt.models.base import Scored
from redoubt.models.sites import Site

Climbed: TypeAlias = Callable[[Scored], Tensor]
Kind: TypeAlias = Literal[
    "margin", "dlr", "scaled-ce", "targeted", "joint", "balanced", "selective", "orthogonal", "collide"
]

BEYOND = 0.1  # of the usual margin: how far past the border an answer is pushed before the detector's turn
_BELOW = 0.05  # of the usual suspicion: how far below refusal is enough


@dataclass(frozen=True)
class Scales:
    """Sizes of a model's answers to clean inputs, both above 0: of its margins, and of its suspicion."""

    margin: float
    suspicion: float

    @classmethod
    def of(cls, scored: Scored, y: Tensor) -> "Scales":
        """Medians over a batch of clean inputs."""
        size = float(margin(scored.logits, y).abs().median())
        alarm = 1.0 if scored.suspicion is None else float(scored.suspicion.abs().median())
        return cls(max(size, 1e-12), max(alarm, 1e-12))


@dataclass(frozen=True)
class Objective:
    """One objective.

    Attributes:
        kind: margin, dlr: of the logits.  scaled-ce: cross-entropy of the logits over their spread, which no scale
            flattens.  targeted: the logit of a likely wrong class over the true one.  joint: margin and suspicion,
            weighed (Carlini and Wagner 2017, "Adversarial examples are not easily detected").  balanced: the same, with
            each suspicion weighing more while the answer is wrong and less while it is right.  selective: the
            margin until the answer is wrong, then the suspicion; orthogonal: the same, each along that part of its
            gradient which leaves the other alone, two gradients a step (both Bryniarski et al. 2021).  collide:
            nearness, at `site`, to a clean input of another class, which both take for one (Tramer et al. 2020).
        weight: of the suspicion, in joint.
        rank: of the target among the wrong classes, likeliest first, or of the input to collide with, nearest first.
        site: where inputs are to collide.
    """

    kind: Kind
    weight: float = 1.0
    rank: int = 0
    site: Site | None = None

    def __str__(self) -> str:
        match self.kind:
            case "joint":
                return f"joint loss, suspicion x {self.weight:g}"
            case "targeted":
                return f"targeted loss, class {self.rank + 1}"
            case "collide":
                return f"collision at {self.site} with clean input {self.rank + 1}"
        return f"{self.kind} loss"


@dataclass(frozen=True)
class Aims:
    """What objectives need to know of each example of a batch.

    Attributes:
        y: labels `[B]`.
        scales: see `Scales`.
        classes: wrong classes, likeliest first, `[B, K - 1]`.
        likes: by site, what clean inputs of other classes look like there, nearest first: `[B, R, ...]`.
    """

    y: Tensor
    scales: Scales
    classes: Tensor
    likes: dict[Site, Tensor]

    def climbed(self, objective: Objective, rows: Tensor, weight: Tensor | None = None) -> Climbed:
        """The objective as a function of what the model says to some rows of the batch; higher is better.

        `weight` `[B]` is what a balanced objective has come to weigh the suspicion by; 1 where absent.
        """
        y, scales = self.y[rows], self.scales

        def loss(scored: Scored) -> Tensor:
            gap = margin(scored.logits, y) / scales.margin
            alarm = None if scored.suspicion is None else scored.suspicion / scales.suspicion
            match objective.kind:
                case "dlr":
                    return dlr(scored.logits, y)
                case "scaled-ce":
                    spread = scored.logits.detach().std(dim=1, keepdim=True).clamp_min(1e-12)
                    return F.cross_entropy(scored.logits / spread, y, reduction="none")
                case "targeted":
                    target = self.classes[rows, min(objective.rank, self.classes.shape[1] - 1)][:, None]
                    return (scored.logits.gather(1, target) - scored.logits.gather(1, y[:, None]))[:, 0] / scales.margin
                case "joint" if alarm is not None:
                    return gap.clamp_max(BEYOND) - objective.weight * alarm.clamp_min(-_BELOW)
                case "balanced" if alarm is not None:
                    calm = alarm.clamp_min(-_BELOW)
                    return gap.clamp_max(BEYOND) - (calm if weight is None else weight * calm)
                case "selective" | "orthogonal" if alarm is not None:
                    return torch.where(gap < BEYOND, gap, BEYOND - (alarm + _BELOW).clamp_min(0))
                case "collide" if objective.site is not None and objective.site in scored.seen:
                    likes = self.likes[objective.site]
                    like = likes[rows, min(objective.rank, likes.shape[1] - 1)]
                    apart = (scored.seen[objective.site] - like).flatten(1)
                    return -apart.square().sum(dim=1) / like.flatten(1).square().sum(dim=1).clamp_min(1e-12)
            return gap

        return loss

    def parts(self, rows: Tensor) -> tuple[Climbed, Climbed]:
        """The margin, and the suspicion, which is to fall: what `orthogonal` follows in turn."""
        gap = self.climbed(Objective("margin"), rows)

        def calm(scored: Scored) -> Tensor:
            none = scored.logits.new_zeros(len(scored.logits))
            return none if scored.suspicion is None else -scored.suspicion / self.scales.suspicion

        return gap, calm

    def height(self, scored: Scored, rows: Tensor, *, deep: bool = False) -> Tensor:
        """How near to fooling, `[B]`: below 0, and 0 for who is fooled; NaN counts as far.

        `deep`: above 0 for who is answered wrongly by a margin, as a random model's answers have to be.
        """
        height = margin(scored.logits, self.y[rows]) / self.scales.margin
        height = height if deep else height.clamp_max(0)
        if scored.suspicion is not None:
            height = height - scored.suspicion.clamp_min(0) / self.scales.suspicion
        return height.nan_to_num(-1e6, -1e6, -1e6)
