"""A small network that is taught by a model's answers, for adversaries who have no gradients of their own."""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from redoubt.models.base import Answer, Face
from redoubt.models.torch_model import TorchModel

_WIDTH = 16  # channels of the first convolution; the second has twice as many
_HIDDEN = 100
_SMALLEST_IMAGE = 8  # side of the smallest image that is convolved
_BATCH = 128
_RATE = 2e-3
_OWN = 64  # clean inputs beside each batch of answers: their labels are sure, and they are the data's own


def network(face: Face, rng: Generator) -> nn.Sequential:
    """An untrained network from `[B, *face.shape]` to `[B, K]`: two convolutions for images, else two dense layers.

    Args:
        face: what goes in and comes out.
        rng: draws the weights; no other random state is touched.
    """
    shape = face.shape
    layers: list[nn.Module]
    with torch.random.fork_rng(devices=[]):  # torch draws weights of its own first
        if len(shape) == 3 and min(shape[1:]) >= _SMALLEST_IMAGE:
            sides = [math.ceil(side / 4) for side in shape[1:]]
            layers = [
                nn.Conv2d(shape[0], _WIDTH, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Conv2d(_WIDTH, 2 * _WIDTH, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(2 * _WIDTH * math.prod(sides), _HIDDEN),
            ]
        else:
            layers = [nn.Flatten(), nn.Linear(math.prod(shape), _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, _HIDDEN)]
        built = nn.Sequential(*layers, nn.ReLU(), nn.Linear(_HIDDEN, face.classes))
    for parameter in built.parameters():
        if parameter.dim() > 1:
            nn.init.kaiming_uniform_(parameter, nonlinearity="relu", generator=rng)
        else:
            nn.init.zeros_(parameter)
    return built


class Substitute:
    """What was heard of a model so far, and a network that was taught it.

    Learns scores where they are shown, as centred logits, which tell logits and log-probabilities alike; else labels.
    Refusals, and answers that are no number, teach nothing.

    Args:
        face: the model's, which is public.
        x: inputs `[B, *shape]` whose labels are known without asking.
        y: their labels `[B]`.
        rng: the only source of randomness, on the CPU.
    """

    def __init__(self, face: Face, x: Tensor, y: Tensor, rng: Generator) -> None:
        self._rng, self._face = rng, face
        self._x, self._y = x, y
        self._asked, self._told, self._scores = x[:0], y[:0], x.new_zeros((0, face.classes))
        self.network = network(face, rng).to(x).eval().requires_grad_(False)
        self._inside = TorchModel(
            self.network, face, mean=(face.low,), std=(face.high - face.low,), device=str(x.device)
        )

    def __len__(self) -> int:
        """Number of answers learnt from."""
        return len(self._told)

    def hear(self, x: Tensor, answer: Answer) -> None:
        """Take in the answer to `x` `[N, *shape]`."""
        heard = ~answer.refused & (answer.labels >= 0)
        scores = torch.full((len(x), self._face.classes), torch.nan).to(self._scores)
        if answer.scores is not None:
            scores = answer.scores.to(scores)
            scores = scores - scores.mean(dim=1, keepdim=True)
            scores = scores.masked_fill(~scores.isfinite().all(dim=1, keepdim=True), torch.nan)
        self._asked = torch.cat([self._asked, answer.to(x)[heard]])
        self._told = torch.cat([self._told, answer.labels[heard]])
        self._scores = torch.cat([self._scores, scores[heard]])

    def learn(self, steps: int) -> None:
        """Go on training for so many batches of the known and the heard."""
        self.network.requires_grad_(True)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
        shown = ~self._scores.isnan().any(dim=1)
        scale = float(self._scores[shown].std().clamp_min(1e-6)) if shown.any() else 1.0
        for _ in range(steps):
            own = self._draw(len(self._x), _OWN)
            loss = F.cross_entropy(self._inside.training_logits(self._x[own]), self._y[own])
            if len(self):
                rows = self._draw(len(self), _BATCH)
                loss = loss + self._miss(self._inside.training_logits(self._asked[rows]), rows, shown[rows], scale)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
        self.network.requires_grad_(False)

    def _draw(self, size: int, count: int) -> Tensor:
        return torch.randint(0, size, (min(count, size),), generator=self._rng).to(self._x.device)

    def _miss(self, logits: Tensor, rows: Tensor, shown: Tensor, scale: float) -> Tensor:
        """How far the network is from what was told: of scores in units of their spread, and of labels."""
        miss = F.cross_entropy(logits, self._told[rows])
        if shown.any():
            centred = logits - logits.mean(dim=1, keepdim=True)
            miss = miss + F.mse_loss(centred[shown] / scale, self._scores[rows][shown] / scale)
        return miss

    @property
    def model(self) -> TorchModel:
        """The network as a model that gives gradients: its owner's, so no pass on it is the victim's to bill."""
        return self._inside
