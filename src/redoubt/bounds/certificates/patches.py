"""Certificates against a patch of any pixels anywhere in an image, without any chance in them.

Two kinds.  `patch_certified` bounds a network as it is over every place of the patch by intervals (Chiang et al. 2020):
for small patches, and networks trained for it.  `Ablated` is de-randomised smoothing (Levine and Feizi 2020): a base
classifier sees one band of columns at a time and all bands vote; a patch can only change the votes of bands that it
touches.  What is certified there is the vote, not the base.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from redoubt.bounds.network.graph import Graph
from redoubt.bounds.relaxed.interval import interval_values

_AT_ONCE = 128


def patch_certified(
    graph: Graph, x: Tensor, y: Tensor, size: int, low: float, high: float, at_once: int = _AT_ONCE
) -> Tensor:
    """Whether no patch of `size` by `size` pixels, wherever it lies in the image, changes the label; bool `[N]`.

    Sound for the network in real arithmetic, as `prove` is.  Not complete: False only says that intervals do not show
    it.

    Args:
        graph: of the network, its input `[1, C, H, W]` flat.
        x: images `[N, C, H, W]`.
        y: labels, int64 `[N]`.
        size: side of the patch in pixels, at most that of the image.
        low: the least value of a pixel.
        high: the greatest.
        at_once: places that are bounded at once.

    Raises:
        ValueError: the patch does not fit the image.
    """
    height, width = x.shape[2:]
    if not 1 <= size <= min(height, width):
        raise ValueError(f"a patch of {size} pixels in images of {height} by {width}")
    frozen = graph.frozen()
    places = [(top, left) for top in range(height - size + 1) for left in range(width - size + 1)]
    held = torch.ones(len(x), dtype=torch.bool)
    for row in range(len(x)):
        label = int(y[row])
        for start in range(0, len(places), at_once):
            some = places[start : start + at_once]
            lower = x[row].double().repeat(len(some), 1, 1, 1)
            upper = lower.clone()
            for at, (top, left) in enumerate(some):
                lower[at, :, top : top + size, left : left + size] = low
                upper[at, :, top : top + size, left : left + size] = high
            with torch.no_grad():
                least, most = interval_values(frozen, lower.flatten(1), upper.flatten(1))[-1]
            others = most.clone()
            others[:, label] = -torch.inf
            if not bool((least[:, label] > others.amax(dim=1)).all()):
                held[row] = False
                break
    return held


@dataclass(frozen=True)
class PatchCertified:
    """What was certified of N images.

    Attributes:
        label: int64 `[N]`, what the vote answers.
        certified: bool `[N]`: no patch changes it.
    """

    label: Tensor
    certified: Tensor

    def accuracy(self, y: Tensor) -> float:
        """Share of images whose label is right and certified."""
        return float(((self.label == y) & self.certified).double().mean())


@dataclass(frozen=True)
class Ablated:
    """A vote of a base classifier over all bands of columns, each shown by itself.

    Attributes:
        base: logits `[B, K]` of `[B, 2C, H, W]`, as `ablate` makes them.  It must answer one image the same each time,
            whatever else is asked beside it.
        width: columns of a band; bands go round the edge, so there is one for each column.
        threshold: a band votes for each class that it gives at least this probability; 0 < threshold <= 1.
        batch: bands that are asked at once.
    """

    base: Callable[[Tensor], Tensor]
    width: int
    threshold: float = 0.3
    batch: int = 512

    def votes(self, x: Tensor) -> Tensor:
        """Votes for each class, int64 `[N, K]`, for images `[N, C, H, W]` in 0..1."""
        columns = x.shape[3]
        counted = []
        with torch.no_grad():
            for one in x:
                bands = torch.cat([ablate(one[None], start, self.width) for start in range(columns)])
                shares = torch.cat([self.base(part).softmax(dim=1) for part in torch.split(bands, self.batch)])
                counted.append((shares >= self.threshold).sum(dim=0))
        return torch.stack(counted)

    def certify(self, x: Tensor, patch: int) -> PatchCertified:
        """What the vote answers, and whether a patch at most that many columns wide could change it (theorem 1).

        The patch may be of any height.  It touches `patch + width - 1` bands, so it takes as many votes from the winner
        and gives as many to another class at most; of equal counts the lower class wins.
        """
        if not 1 <= patch <= x.shape[3]:
            raise ValueError(f"a patch of {patch} columns in images of {x.shape[3]}")
        votes = self.votes(x)
        label = votes.argmax(dim=1)
        mine = votes.gather(1, label[:, None]).squeeze(1)
        lower = torch.arange(votes.shape[1])[None] < label[:, None]
        rival = (votes + lower.long()).scatter(1, label[:, None], -1).amax(dim=1)
        touched = min(patch + self.width - 1, x.shape[3])
        return PatchCertified(label, mine >= rival + 2 * touched)


def ablate(x: Tensor, start: int, width: int) -> Tensor:
    """Images `[B, C, H, W]` in 0..1 with all but a band of columns blotted out, as `[B, 2C, H, W]`: x and 1 - x in the
    band, 0 and 0 elsewhere, which no pixel looks like.
    """
    columns = x.shape[3]
    shown = (torch.arange(columns, device=x.device) - start) % columns < width
    return torch.cat([x, 1 - x], dim=1) * shown.to(x.dtype)


def ablated_loss(module: nn.Module, x: Tensor, y: Tensor, width: int, rng: Generator) -> Tensor:
    """Cross-entropy on one random band of each image: the training that goes with `Ablated`.

    Args:
        module: logits `[B, K]` of `[B, 2C, H, W]`.
        x: images `[B, C, H, W]` in 0..1.
        y: labels, int64 `[B]`.
        width: columns of a band.
        rng: the bands, a CPU generator.
    """
    starts = torch.randint(x.shape[3], (len(x),), generator=rng).to(x.device)
    columns = torch.arange(x.shape[3], device=x.device)
    shown = ((columns[None] - starts[:, None]) % x.shape[3] < width).to(x.dtype)
    return F.cross_entropy(module(torch.cat([x, 1 - x], dim=1) * shown[:, None, None]), y)
