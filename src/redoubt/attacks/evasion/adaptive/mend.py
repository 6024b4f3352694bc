"""Ways around a broken part for gradients alone (BPDA, Athalye et al. 2018): what is computed forwards stays as is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from redoubt.attacks.evasion.adaptive.parts import Gap
from redoubt.models.meter import Metered
from redoubt.models.rewire import Bridge
from redoubt.perturb.base import PerturbationSet

Way: TypeAlias = Literal["identity", "learnt"]

_DRAWS = 6  # points of each example's set that a surrogate learns from, beside the clean input
_EXAMPLES = 64
_WIDE, _NARROW = 512, 48  # random features of rows; of pixels, alone and with their neighbours
_ROWS = 8192  # that the last layer is fitted to, at most
_RIDGE = 1e-3


@dataclass(frozen=True)
class Mend:
    """One gap, and the way around it."""

    gap: Gap
    way: Way
    bridge: Bridge

    def __str__(self) -> str:
        return f"{self.way} for {self.gap.part}"


def _size(shape: Sequence[int]) -> int:
    return int(torch.Size(shape).numel())


def identity(gap: Gap) -> Mend | None:
    """Hand gradients on as they are, to every source of as many numbers as the target; None if there is none.

    Right for parts that give back about what they get: rounding, compression, purifiers, activations; and for votes.
    """
    fitting = tuple(at for at, shape in enumerate(gap.shapes) if _size(shape) == _size(gap.shape))
    if not fitting:
        return None

    def through(*sources: Tensor) -> Tensor:
        return torch.stack([source.reshape(len(source), *gap.shape) for source in sources]).sum(dim=0)

    return Mend(gap, "identity", Bridge(tuple(gap.sources[at] for at in fitting), gap.target, through))


def learnt(gap: Gap, model: Metered, x: Tensor, within: PerturbationSet, rng: Generator) -> Mend | None:
    """A small network that has seen what the part makes of inputs in the set, and gives its gradients instead.

    Costs each of up to 64 examples 7 forward passes.  None if the forward pass takes other ways.

    Args:
        gap: the part.
        model: the handle for exactly these examples.
        x: clean inputs `[B, *shape]`.
        within: where attacks move.
        rng: CPU generator.
    """
    some = torch.randperm(len(x), generator=rng)[:_EXAMPLES]
    part, inputs = model.only(some), x[some.to(x.device)]
    points = [within.start(inputs), *(_somewhere(inputs, within, rng, towards=at) for at in range(_DRAWS))]
    taken: list[list[Tensor]] = [[] for _ in gap.sources]
    given: list[Tensor] = []
    with torch.no_grad():
        for point in points:
            seen = part.trace(within.render(inputs, point)).seen
            if gap.target not in seen or any(source not in seen for source in gap.sources):
                continue
            given.append(seen[gap.target].float())
            for tensors, source in zip(taken, gap.sources, strict=True):
                tensors.append(seen[source].float())
    if not given:
        return None
    net = _fit([torch.cat(tensors) for tensors in taken], torch.cat(given), rng)

    def through(*sources: Tensor) -> Tensor:
        return net([source.float() for source in sources])

    return Mend(gap, "learnt", Bridge(gap.sources, gap.target, through))


def _somewhere(x: Tensor, within: PerturbationSet, rng: Generator, towards: int) -> Tensor:
    """A random point of each example's set; every other time one that lies towards another input."""
    point = within.sample(x, rng)
    if towards % 2 == 0 or point.shape != x.shape:
        return point
    return within.project(x, (point + x.roll(towards, dims=0)) / 2)


def _fit(taken: list[Tensor], given: Tensor, rng: Generator) -> Callable[[list[Tensor]], Tensor]:
    """Source tensors to a tensor of the target's shape: random ReLU features, and a last layer by least squares.

    Pixels keep their places where sources and target are maps of one size: their features see 3 x 3 of them.
    """
    shape = tuple(given.shape[1:])
    maps = len(shape) == 3 and all(one.dim() == 4 and one.shape[2:] == given.shape[2:] for one in taken)
    joined = _join(taken, maps=maps)
    shift, scale = joined.mean(), joined.std().clamp_min(1e-6)
    inputs = joined.shape[1]
    if maps:
        kernels = [torch.randn(_NARROW, inputs, side, side, generator=rng).to(joined) for side in (1, 3)]
        kernels = [kernel * (2 / kernel[0].numel()) ** 0.5 for kernel in kernels]
        biases = [torch.randn(_NARROW, generator=rng).to(joined) for _ in kernels]
    else:
        matrix = torch.randn(inputs, _WIDE, generator=rng).to(joined) * (2 / inputs) ** 0.5
        bias = torch.randn(_WIDE, generator=rng).to(joined)

    def features(sources: list[Tensor]) -> Tensor:
        x = (_join(sources, maps=maps) - shift) / scale
        if not maps:
            return torch.cat([x, torch.relu(x @ matrix + bias), x.new_ones(len(x), 1)], dim=1)
        seen = [
            torch.relu(F.conv2d(x, kernel, b, padding=kernel.shape[-1] // 2))
            for kernel, b in zip(kernels, biases, strict=True)
        ]
        return torch.cat([x, *seen, torch.ones_like(x[:, :1])], dim=1).movedim(1, -1)

    seen = features(taken).reshape(-1, inputs + 1 + (2 * _NARROW if maps else _WIDE))
    wanted = given.movedim(1, -1).reshape(len(seen), -1) if maps else given.reshape(len(given), -1)
    some = torch.randperm(len(seen), generator=rng)[:_ROWS].to(seen.device)
    weights = _least_squares(seen[some], wanted[some])

    def run(sources: list[Tensor]) -> Tensor:
        out = features(sources) @ weights
        return out.movedim(-1, 1) if maps else out.reshape(-1, *shape)

    return run


def _join(sources: Sequence[Tensor], *, maps: bool) -> Tensor:
    """Maps along their channels, others as rows."""
    return torch.cat(list(sources) if maps else [one.reshape(len(one), -1) for one in sources], dim=1)


def _least_squares(seen: Tensor, wanted: Tensor) -> Tensor:
    """Ridge regression `[D, T]` of `[N, T]` on `[N, D]`, by whichever of the two systems is smaller."""
    rows, columns = seen.shape
    if rows < columns:
        dual: Tensor = torch.linalg.solve(_lifted(seen @ seen.T), wanted)
        return seen.T @ dual
    weights: Tensor = torch.linalg.solve(_lifted(seen.T @ seen), seen.T @ wanted)
    return weights


def _lifted(square: Tensor) -> Tensor:
    return square + _RIDGE * square.diagonal().mean() * torch.eye(len(square)).to(square)
