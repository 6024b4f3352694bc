"""Broken defences around a reader of 8x8 digits, one for each way in which a part can break gradients or refuse."""

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

_TRAIN = 1200


@cache
def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images `[1200, 1, 8, 8]` in 0..1 and labels, then test images and labels."""
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    images = (torch.tensor(x, dtype=torch.float32) / 16).view(-1, 1, 8, 8)[order]
    labels = torch.tensor(y)[order]
    return images[:_TRAIN], labels[:_TRAIN], images[_TRAIN:], labels[_TRAIN:]


def fit(module: nn.Module, loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy, steps: int = 300) -> nn.Module:
    """A few seconds of Adam on the training images; in evaluation mode afterwards."""
    x, y, _, _ = digits()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
        for _ in range(steps):
            rows = torch.randint(len(x), (128,))
            optimizer.zero_grad()
            loss(module(x[rows]), y[rows]).backward()
            optimizer.step()
    return module.eval().requires_grad_(False)


def net(channels: int = 1, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1),
            activation(),
            nn.Flatten(),
            nn.Linear(8 * 64, 48),
            activation(),
            nn.Linear(48, 10),
        )


@cache
def plain() -> nn.Sequential:
    """The undefended network."""
    module = net()
    fit(module)
    return module


class Part(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def compresses() -> nn.Module:
    """Leaves autograd, as code that calls another library does."""
    return nn.Sequential(Part(lambda x: torch.from_numpy((x.detach().numpy() * 12).round() / 12)), plain())


class Inline(nn.Module):
    """Rounds within its `forward`, where no module marks the place."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = plain()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(torch.round(x * 8) / 8)


class Winners(nn.Module):
    """The largest tenth of a layer's outputs pass (Xiao et al. 2020)."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        least = flat.topk(max(flat.shape[1] // 10, 1), dim=1).values[:, -1]
        return x * (x >= least.view(-1, *[1] * (x.dim() - 1)))


class Thermometer(nn.Module):
    """Each pixel as ten steps (Buckman et al. 2018)."""

    def forward(self, x: Tensor) -> Tensor:
        return (x > torch.arange(10).view(1, -1, 1, 1) / 10).float()


class Jitters(nn.Module):
    """Noise, and a random shift of each image by up to a pixel."""

    def forward(self, x: Tensor) -> Tensor:
        moved = torch.stack([torch.roll(one, torch.randint(-1, 2, (2,)).tolist(), (1, 2)) for one in x])
        return (moved + 0.1 * torch.randn_like(x)).clamp(0, 1)


class Vote(nn.Module):
    """Three networks, each seeing some pixels, cast votes."""

    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList([net() for _ in range(3)])
        rng = torch.Generator().manual_seed(0)
        self.register_buffer("masks", (torch.rand(3, 1, 8, 8, generator=rng) < 0.7).float())
        for member, mask in zip(self.members, self.masks, strict=True):
            fit(nn.Sequential(Part(lambda x, m=mask: x * m), member))

    def forward(self, x: Tensor) -> Tensor:
        votes = [member(x * mask).argmax(1) for member, mask in zip(self.members, self.masks, strict=True)]
        return torch.stack([F.one_hot(vote, 10).float() for vote in votes]).mean(0)


class Squeezes(nn.Module):
    """Refuses where coarser grey levels change the probabilities much (Xu et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = plain()
        self.register_buffer("limit", self.apart(digits()[0]).quantile(0.95))

    def apart(self, x: Tensor) -> Tensor:
        return (self.inner(x).softmax(1) - self.inner(torch.round(x * 2) / 2).softmax(1)).abs().sum(1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner(x), self.apart(x) - self.limit


class Neighbours(nn.Module):
    """Refuses where too few of the nearest training features have the label (Papernot and McDaniel 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = plain()
        x, y, _, _ = digits()
        self.register_buffer("known", self.inner[:-1](x))
        self.register_buffer("labels", y)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.inner[:-1](x)
        logits = self.inner[-1](features)
        near = torch.cdist(features, self.known).topk(10, largest=False).indices
        agree = (self.labels[near] == logits.argmax(1)[:, None]).float().mean(1)
        return logits, 0.75 - agree


class Unsure(nn.Module):
    """Refuses where the largest logit is lower than nearly all training images give."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = plain()
        self.register_buffer("limit", self.inner(digits()[0]).amax(1).quantile(0.05))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.inner(x)
        return logits, self.limit - logits.amax(1)


@cache
def build(name: str) -> nn.Module:
    """A defence by name."""
    match name:
        case "plain":
            return plain()
        case "compresses":
            return compresses()
        case "inline":
            return Inline()
        case "winners":
            module = net(activation=Winners)
            return fit(module)
        case "thermometer":
            return fit(nn.Sequential(Thermometer(), net(10)))
        case "jitters":
            return fit(nn.Sequential(Jitters(), net()), steps=400)
        case "vote":
            return Vote()
        case "squeezes":
            return Squeezes()
        case "neighbours":
            return Neighbours()
        case "unsure":
            return Unsure()
    raise LookupError(name)
