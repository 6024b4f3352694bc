"""Model inversion: for each class an input that the model holds for typical (Fredrikson, Jha and Ristenpart 2015).

Steps up the gradient of the class's log-probability, from the middle of the range.  Without a prior that ends in noise
that only this model recognises.  Two priors keep the search among what could be an input:

| prior | what it asks for | who has it |
|---|---|---|
| `smooth` | little total variation, of images | anybody |
| `Components` | a likely point in the span of the principal components of public inputs | who has inputs of that kind |

A representative is the class as the model sees it, not a training record.  Whether it looks like the class, another
classifier says, that was not attacked: `games.memorisation.recognised`.

Not covered: priors that were learnt by a generator (GMI, Zhang et al. 2020), and models that can only be asked.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from redoubt.models import Differentiable
from redoubt.records import DataError


@dataclass(frozen=True)
class Components:
    """Principal components of public inputs.

    Attributes:
        mean: `[D]`, flattened.
        directions: `[M, D]`, orthonormal, the widest first.
        spread: `[M]`, standard deviations along them.
    """

    mean: Tensor
    directions: Tensor
    spread: Tensor

    @classmethod
    def of(cls, public: Tensor, most: int = 30) -> "Components":
        """Of inputs `[N, ...]`, at most `most` of them.

        Raises:
            DataError: fewer than two inputs.
        """
        if len(public) < 2:
            raise DataError(f"{len(public)} public inputs have no components", remedy="give more of them")
        flat = public.flatten(1).double()
        mean = flat.mean(0)
        _, values, directions = torch.linalg.svd(flat - mean, full_matrices=False)
        kept = min(most, int((values > 1e-9).sum()))
        spread = values[:kept] / (len(flat) - 1) ** 0.5
        return cls(mean.float(), directions[:kept].float(), spread.float())


@dataclass(frozen=True)
class Inversion:
    """Find representatives.

    Attributes:
        steps: of Adam.
        rate: its step size, in the units of the input range, or of standard deviations of components.
        smooth: weight of the total variation, per value; without components.
        rare: weight of how unlikely a point of the components is.
    """

    steps: int = 200
    rate: float = 0.05
    smooth: float = 0.0
    rare: float = 0.02

    name = "inversion"

    def run(self, model: Differentiable, classes: Tensor, prior: Components | None = None) -> Tensor:
        """A representative of each class, float32 `[C, *face.shape]` in the face's range; `classes` is int64 `[C]`."""
        face = model.face
        size = prior.directions.shape[0] if prior is not None else torch.Size(face.shape).numel()
        free = torch.zeros(len(classes), size, requires_grad=True)
        optimizer = torch.optim.Adam([free], self.rate if prior is None else 2 * self.rate)

        def inputs() -> Tensor:
            if prior is None:
                flat = (face.low + face.high) / 2 + free * (face.high - face.low)
            else:
                flat = prior.mean + (free * prior.spread) @ prior.directions
            return flat.clamp(face.low, face.high).view(len(classes), *face.shape)

        for _ in range(self.steps):
            x = inputs()
            loss = F.cross_entropy(model.logits(x), classes, reduction="sum")
            loss = loss + (self.smooth * _variation(x) if prior is None else self.rare * free.square().sum())
            (free.grad,) = torch.autograd.grad(loss, [free])
            optimizer.step()
        return inputs().detach()


def _variation(x: Tensor) -> Tensor:
    """Total variation, added up; 0 of what are no images."""
    if x.ndim != 4:
        return x.new_zeros(())
    return (x[..., 1:, :] - x[..., :-1, :]).abs().sum() + (x[..., 1:] - x[..., :-1]).abs().sum()
