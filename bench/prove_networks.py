"""Networks and properties of the bench of proofs: readers of small digits, and a controller that avoids collisions."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

READERS = ("dense", "deep", "conv")
RADII = (0.015, 0.025, 0.035, 0.05)
IMAGES = 5  # for each reader and radius

CLEAR, WEAK_LEFT, WEAK_RIGHT, STRONG_LEFT, STRONG_RIGHT = range(5)
_TURNS = torch.tensor([0.0, 1.5, -1.5, 3.0, -3.0]) * math.pi / 180  # per second
_PRICE = torch.tensor([0.0, 0.05, 0.05, 0.1, 0.1])


def reader(name: str) -> nn.Sequential:
    """Images `[B, 1, 14, 14]` in 0..1 to logits `[B, 10]`."""
    if name == "dense":
        return nn.Sequential(
            nn.Flatten(), nn.Linear(196, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)
        )
    if name == "deep":
        layers: list[nn.Module] = [nn.Flatten(), nn.Linear(196, 16), nn.ReLU()]
        for _ in range(4):
            layers += [nn.Linear(16, 16), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(16, 10))
    return nn.Sequential(
        nn.Conv2d(1, 4, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 8, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(72, 16),
        nn.ReLU(),
        nn.Linear(16, 10),
    )


def trained_reader(name: str, x: Tensor, y: Tensor, seed: int = 0) -> nn.Sequential:
    """Two epochs of Adam."""
    torch.manual_seed(seed)
    net = reader(name)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(2):
        for part in torch.randperm(len(x)).split(128):
            optimizer.zero_grad()
            F.cross_entropy(net(x[part]), y[part]).backward()
            optimizer.step()
    return net.eval().requires_grad_(False)


def costs(x: Tensor) -> Tensor:
    """What each of five advisories costs in each of N situations, `[N, 5]`: how near the aircraft come, and its price.

    A situation is distance, bearing, the other's heading, own speed, the other's speed, each in -0.5..0.5.  Both fly
    straight on for 40 s, the own one turning as advised.
    """
    distance = (x[:, 0] + 0.5) * 6000
    bearing, heading = x[:, 1] * 2 * math.pi, x[:, 2] * 2 * math.pi
    own, other = 100 + (x[:, 3] + 0.5) * 200, 100 + (x[:, 4] + 0.5) * 200
    at = torch.stack([distance * bearing.cos(), distance * bearing.sin()], dim=1)[:, None]
    flies = torch.stack([heading.cos(), heading.sin()], dim=1)[:, None] * other[:, None, None]
    nearest = torch.full((len(x), 5), torch.inf)
    mine, angle = torch.zeros(len(x), 5, 2), torch.zeros(len(x), 5)
    for _ in range(40):
        angle = angle + _TURNS
        mine = mine + torch.stack([angle.cos(), angle.sin()], dim=2) * own[:, None, None]
        at = at + flies
        nearest = torch.minimum(nearest, (at - mine).norm(dim=2))
    return torch.exp(-nearest / 300) + _PRICE


def controller(seed: int = 0) -> nn.Sequential:
    """Situations `[B, 5]` to the cost of each advisory `[B, 5]`; the least is the advice.  Learnt from `costs`."""
    torch.manual_seed(seed)
    sizes = [5, 30, 30, 30, 30]
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(30, 5))
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for step in range(3000):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * 0.5 * (1 + math.cos(math.pi * step / 3000))
        x = torch.rand(512, 5) - 0.5
        optimizer.zero_grad()
        F.mse_loss(net(x), costs(x)).backward()
        optimizer.step()
    return net.eval().requires_grad_(False)


@dataclass(frozen=True)
class Asked:
    """One property: no input of the box has `row @ output <= limit` for all rows.

    Attributes:
        name: of the property.
        network: of the network.
        lower: `[n]`.
        upper: `[n]`.
        rows: `[R, m]`.
        limits: `[R]`.
    """

    name: str
    network: str
    lower: Tensor
    upper: Tensor
    rows: Tensor
    limits: Tensor


def reader_properties(name: str, net: nn.Module, x: Tensor, y: Tensor) -> list[Asked]:
    """For images that are read rightly: the class with the next best score does not overtake within a radius."""
    logits = net(x)
    right = (logits.argmax(dim=1) == y).nonzero().squeeze(1)[:IMAGES]
    found = []
    for row in right.tolist():
        rival = int(logits[row].scatter(0, y[row : row + 1], -torch.inf).argmax())
        rows = torch.zeros(1, 10, dtype=torch.float64)
        rows[0, y[row]], rows[0, rival] = 1.0, -1.0
        for radius in RADII:
            flat = x[row].double().flatten()
            found.append(
                Asked(
                    f"{name}-{row}-{radius:g}",
                    name,
                    (flat - radius).clamp(0, 1),
                    (flat + radius).clamp(0, 1),
                    rows,
                    torch.zeros(1, dtype=torch.float64),
                )
            )
    return found


def controller_properties() -> list[Asked]:
    """Five properties in the manner of ACAS Xu's."""

    def asked(name: str, box: list[tuple[float, float]], rows: list[list[float]], limits: list[float]) -> Asked:
        ends = torch.tensor(box, dtype=torch.float64)
        sides = torch.tensor(rows, dtype=torch.float64), torch.tensor(limits, dtype=torch.float64)
        return Asked(name, "controller", ends[:, 0], ends[:, 1], *sides)

    def least(advice: int) -> list[list[float]]:  # rows: that advice costs no more than any other
        unit = torch.eye(5)
        return [(unit[advice] - unit[k]).tolist() for k in range(5) if k != advice]

    any_way, any_speed = (-0.5, 0.5), (-0.5, 0.5)
    return [
        asked(
            "far away and slow, no advice costs much",
            [(0.42, 0.5), any_way, any_way, (-0.5, -0.3), (-0.5, -0.3)],
            [[-1.0, 0, 0, 0, 0]],
            [-0.5],
        ),
        asked(
            "head on and near, never clear of conflict",
            [(-0.25, -0.2), (-0.01, 0.01), (0.48, 0.5), (0.0, 0.3), (0.0, 0.3)],
            least(CLEAR),
            [0.0] * 4,
        ),
        asked(
            "behind and slower, never a strong left",
            [(0.0, 0.3), (0.45, 0.5), (-0.05, 0.05), (0.3, 0.5), (-0.5, -0.3)],
            least(STRONG_LEFT),
            [0.0] * 4,
        ),
        asked(
            "far ahead and flying away, never a strong right",
            [(0.3, 0.5), (-0.1, 0.1), (-0.1, 0.1), any_speed, (0.2, 0.5)],
            least(STRONG_RIGHT),
            [0.0] * 4,
        ),
        asked(
            "anywhere, never a weak right at the least cost of all by far",
            [any_way, any_way, any_way, any_speed, any_speed],
            [[-1.0, 0, 1, 0, 0], [0, -1, 1, 0, 0], [0, 0, 1, -1, 0], [0, 0, 1, 0, -1]],
            [-0.6] * 4,
        ),
    ]
