"""A small table with categories, and a policy over it, for whoever needs one."""

from pathlib import Path

import torch

COLUMNS = ["hours", "years", "sector_a", "sector_b", "sector_c", "origin", "label"]
MODEL = """
import torch
from torch import nn

def build():
    layer = nn.Linear(6, 2)
    with torch.no_grad():
        # hours and sector c speak for class 1, years a little, origin much
        layer.weight.copy_(torch.tensor([[0.0] * 6, [4.0, 1.0, -1.0, 0.0, 1.0, 3.0]]))
        layer.bias.copy_(torch.tensor([3.4, 0.0]))
    return layer
"""
POLICY = """\
redoubt: 1
system: grants
model:
  source: torch:grants:build
  input: {shape: [6], range: [0, 1]}
  classes: 2
  labels: [refused, granted]
data:
  test: csv:grants.csv
adversaries:
  insider: {knows: weights, budget: {passes: 600}}
  applicant: {observes: label, budget: {queries: 300}}
requirements:
  - id: honest-forms
    game: evasion
    adversary: applicant
    within:
      features:
        hours: {at: 0, scale: [0, 100], step: 5, cost: 1, high: 80}
        sector: {at: [2, 4], kind: category, cost: 2, values: [farm, shop, office]}
      budget: 2
    require: robust_accuracy >= 0.5
  - id: known-weights
    game: evasion
    adversary: insider
    within:
      features:
        hours: {at: 0, scale: [0, 100], step: 5, cost: 1, high: 80}
        sector: {at: [2, 4], kind: category, cost: 2, values: [farm, shop, office]}
      budget: 2
    require: robust_accuracy >= 0.5
"""


def write_grants(folder: Path, count: int = 120) -> Path:
    """Model, data and policy into a folder; returns the policy's path.

    The labels are the model's own, so that it is right about all and whatever falls, falls to the adversary.
    """
    rng = torch.Generator().manual_seed(4)
    x = torch.zeros(count, 6)
    x[:, 0] = torch.randint(0, 17, (count,), generator=rng) * 0.05
    x[:, 1] = torch.rand(count, generator=rng)
    x[torch.arange(count), 2 + torch.randint(3, (count,), generator=rng)] = 1
    x[:, 5] = torch.randint(0, 2, (count,), generator=rng).float()
    score = 4 * x[:, 0] + x[:, 1] - x[:, 2] + x[:, 4] + 3 * x[:, 5]
    label = (score > 3.4).int()
    lines = [",".join(COLUMNS)]
    lines += [",".join(f"{value:.9g}" for value in (*row.tolist(), int(y))) for row, y in zip(x, label, strict=True)]
    (folder / "grants.csv").write_text("\n".join(lines) + "\n")
    (folder / "grants.py").write_text(MODEL)
    (folder / "policy.yaml").write_text(POLICY)
    return folder / "policy.yaml"
