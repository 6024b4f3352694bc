"""What robustness looks like: the loss around a few inputs, and its gradients, before hardening and after.

A hardened model's loss is flat where the plain one's rises at once (Madry et al. 2018, section 5), and its gradients
show the shape of what is in the picture (Tsipras et al. 2019, section 3).
"""

from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from redoubt.data import Dataset
from redoubt.models import TorchModel
from redoubt.perturb import PerturbationSet
from redoubt.storage import write_atomically

GAINS = "gains.safetensors"
_SHOWN = 6
_SIDE = 17


@dataclass(frozen=True)
class Seen:
    """One model, looked at: gradients `[N, *shape]` and losses `[N, G, G]`, float32 on the CPU."""

    gradient: Tensor
    surface: Tensor


def some(data: Dataset) -> Dataset:
    """A few examples, the classes taking turns."""
    rows: list[int] = []
    for label in sorted(set(data.y.tolist())):
        rows.append(int((data.y == label).nonzero()[0]))
    chosen = torch.tensor(rows[:_SHOWN])
    return Dataset(data.x[chosen], data.y[chosen], data.source, data.digest)


def look(model: TorchModel, data: Dataset, within: PerturbationSet, seed: int, device: torch.device) -> Seen:
    """Gradients at the examples, and the loss on a square of the set through each.

    To the right of the middle lies the point of steepest ascent, a full radius away; above it a random point.  Where
    the set is a union, the square lies in its first member.

    Args:
        model: the model.
        data: a few examples.
        within: the set.
        seed: of the random points.
        device: where the model computes.
    """
    x, y = data.x.to(device), data.y.to(device)
    member = within.members[0]
    rng = Generator().manual_seed(seed)
    origin = member.start(x)
    leaf = origin.detach().clone().requires_grad_()
    loss = F.cross_entropy(model.logits(member.draw(x, leaf, rng)), y, reduction="sum")
    (slope,) = torch.autograd.grad(loss, leaf)
    ahead = member.ascend(x, origin, slope, 1.0) - origin
    aside = member.sample(x, Generator().manual_seed(seed)) - origin
    shares = torch.linspace(-1, 1, _SIDE).tolist()
    losses = []
    with torch.no_grad():
        for up in reversed(shares):
            for right in shares:
                point = member.project(x, origin + right * ahead + up * aside)
                drawn = member.draw(x, point, Generator().manual_seed(seed))
                losses.append(F.cross_entropy(model.logits(drawn), y, reduction="none"))
    surface = torch.stack(losses, dim=1).view(len(x), _SIDE, _SIDE)
    return Seen(_input_gradient(model, x, y).float().cpu(), surface.float().cpu())


def write_gains(folder: Path, data: Dataset, before: Seen, after: Seen) -> None:
    """Keep what was seen beside the evidence; left out if anything is not finite.

    Raises:
        StorageError: it cannot be written.
    """
    tensors = {
        "x": data.x.float().cpu(),
        "gradient/before": before.gradient,
        "gradient/after": after.gradient,
        "surface/before": before.surface,
        "surface/after": after.surface,
    }
    if all(bool(value.isfinite().all()) for value in tensors.values()):
        clean = {name: value.contiguous().clone() for name, value in tensors.items()}
        write_atomically(folder / GAINS, safetensors.torch.save(clean))


def _input_gradient(model: TorchModel, x: Tensor, y: Tensor) -> Tensor:
    leaf = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model.logits(leaf), y, reduction="sum"), leaf)
    return gradient
