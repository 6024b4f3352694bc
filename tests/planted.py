"""Digit readers as torch factories: healthy ones, and planted defences that only look robust."""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn


class Reader(nn.Module):
    """A plain network on 8x8 digits; the others wrap it, so its weights fit them all."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x):
        return self.second(torch.relu(self.first(x.flatten(1))))


class Rounds(Reader):
    """Rounds its input: the gradient is zero everywhere."""

    def forward(self, x):
        return super().forward(torch.round(x * 8) / 8)


class Randomises(Reader):
    """Drops pixels at random, also when it answers."""

    def forward(self, x):
        return super().forward(F.dropout(x, 0.1, training=True))


class BreaksGradients(Reader):
    """Right answers, and a gradient of NaN: infinity times zero."""

    def forward(self, x):
        return super().forward(x) + torch.sqrt((x * 0).sum(dim=(1, 2, 3)))[:, None]


class _Backwards(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


class Misleads(Reader):
    """Its gradient points the wrong way."""

    def forward(self, x):
        return super().forward(_Backwards.apply(x))


class _Wrong(torch.autograd.Function):
    """The gradient is noise that depends on nothing."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return torch.sin(1e4 * torch.arange(gradient.numel(), dtype=gradient.dtype)).view_as(gradient)


class PointsAnywhere(Reader):
    """Its gradient is neither zero nor right."""

    def forward(self, x):
        return super().forward(_Wrong.apply(x))


class RoundsWithResidue(Reader):
    """Rounds its input, and adds a ripple too small to matter, whose gradient is all that is left."""

    def forward(self, x):
        ripple = 1e-6 * torch.sin(1e4 * x).flatten(1)[:, :10]
        return super().forward(torch.round(x * 16) / 16) + ripple


class NotANumber(Reader):
    """Right on the 17 grey levels of the data, NaN off them."""

    def forward(self, x):
        off = ((x * 16 - torch.round(x * 16)).abs() > 1e-3).flatten(1).any(dim=1)
        return torch.where(off[:, None], torch.nan, super().forward(x))


class Saturates(Reader):
    """Logits scaled up until cross-entropy is exactly flat in float32; only losses that ignore scale see through."""

    def forward(self, x):
        return super().forward(x) * 1000


class Snaps(Reader):
    """Knows the digits by heart: an input moved too far from all of them is answered like the nearest, without
    gradient; small moves reach the plain network.  So a larger radius looks safer than a smaller one."""

    def __init__(self):
        super().__init__()
        x, y = load_digits(return_X_y=True)
        self.register_buffer("known", torch.tensor(x, dtype=torch.float32) / 16, persistent=False)
        self.register_buffer("labels", torch.tensor(y), persistent=False)

    def forward(self, x):
        distance, nearest = torch.cdist(x.flatten(1).detach(), self.known, p=torch.inf).min(dim=1)
        recalled = 10.0 * F.one_hot(self.labels[nearest], 10)
        return torch.where((distance > 0.05)[:, None], recalled, super().forward(x))


class Refuses(Reader):
    """Refuses whenever it is not very sure."""

    def forward(self, x):
        logits = super().forward(x)
        top = logits.topk(2, dim=1).values
        return logits, 2.0 - (top[:, 0] - top[:, 1])


class Hashes(Reader):
    """Adds to the logits what a hash of the input's last bits says."""

    def forward(self, x):
        bits = torch.frac(torch.sin(x.detach().double().flatten(1) * 1e5).sum(dim=1) * 1e3).float()
        return super().forward(x.detach()) + 3 * torch.sin(bits[:, None] * 1e3 * torch.arange(1, 11))


refuses, hashes = Refuses, Hashes
reader, rounds, randomises, breaks = Reader, Rounds, Randomises, BreaksGradients
misleads, anywhere, residue, snaps = Misleads, PointsAnywhere, RoundsWithResidue, Snaps
saturates, not_a_number = Saturates, NotANumber


@cache
def _means():
    x, y = load_digits(return_X_y=True)
    return np.stack([x[y == digit].mean(axis=0) / 16 for digit in range(10)])


def templates(batch):
    """Scores `[B, 10]` of a numpy batch `[B, 1, 8, 8]`: likeness to the mean image of each digit."""
    means = _means()
    return -np.square(batch.reshape(len(batch), 1, 64) - means).sum(axis=2)
