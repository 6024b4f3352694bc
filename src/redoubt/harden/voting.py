"""Voting at test time: the mean answer over a few turned and shifted versions of an image.

For sets of rotations and translations (Engstrom et al. 2019, section 5): what fools the model at one angle and place
seldom fools it a few degrees and pixels further.  Nothing random: the versions are always the same, and gradients flow
through them, so attacks see the whole model.  Does not help in norm balls.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from redoubt.perturb import Turn


class Voting(nn.Module):
    """A model of images `[B, C, H, W]` that answers with the mean log-probability over several versions of the image.

    While it is trained, the model inside learns alone.

    Args:
        net: images to logits `[B, K]`.
        rotation: degrees; versions are turned by this angle either way, and not.
        translation: pixels; versions are shifted by this much along each axis either way, and not.
        fill, high: the input range.

    >>> Voting(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), rotation=10, translation=1)(torch.rand(2, 1, 8, 8)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self, net: nn.Module, *, rotation: float = 0.0, translation: float = 0.0, fill: float = 0.0, high: float = 1.0
    ) -> None:
        super().__init__()
        self.net = net
        self.alone = False
        self._turn = Turn(rotation, translation, fill=fill, high=high)
        angles = (0.0, rotation, -rotation) if rotation else (0.0,)
        shifts = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)) if translation else ((0, 0),)
        self._versions = [(angle, dx * translation, dy * translation) for angle in angles for dx, dy in shifts]

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[B, K]`."""
        if self.alone or len(self._versions) == 1:
            raw: Tensor = self.net(x)
            return raw
        drawn = [self._turn.render(x, x.new_tensor([version]).expand(len(x), 3)) for version in self._versions]
        logits: Tensor = self.net(torch.cat(drawn))
        return logits.log_softmax(dim=1).view(len(drawn), len(x), -1).mean(dim=0)


@contextlib.contextmanager
def alone(module: nn.Module) -> Iterator[None]:
    """Within, every `Voting` inside the module answers without a vote."""
    votes = [part for part in module.modules() if isinstance(part, Voting)]
    for part in votes:
        part.alone = True
    try:
        yield
    finally:
        for part in votes:
            part.alone = False
