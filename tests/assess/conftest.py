"""Policies over small trained digit readers."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from sklearn.datasets import load_digits

sys.path.insert(0, str(Path(__file__).parent))

import planted

from redoubt.attacks.evasion import APGD, RandomSearch, Square
from redoubt.policy import read_policy

QUICK = (APGD("ce", steps=20), APGD("dlr", steps=20), Square(queries=150), RandomSearch(samples=30))

POLICY = """\
redoubt: 1
system: digits
model:
  source: torch:planted:{model}
  weights: reader.safetensors
  input: {{shape: [1, 8, 8], range: [0, 1]}}
  classes: 10
data:
  train: sklearn:digits/train
  test: {{source: sklearn:digits/test, take: {take}}}
adversaries:
  insider: {{knows: weights, budget: {{passes: {passes}}}}}
  customer: {{observes: scores, budget: {{queries: 60}}}}
  stranger: {{observes: label, budget: {{queries: 20}}}}
requirements:
{requirements}
"""
NOISE = """\
  - id: noise
    game: evasion
    adversary: insider
    within: {norm: linf, radius: 0.04}
    require: robust_accuracy >= 0.2"""


@pytest.fixture(scope="session")
def reader_weights(tmp_path_factory):
    """Weights of a plain reader, trained for a second."""
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(y)
    model = planted.Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(25):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    path = tmp_path_factory.mktemp("reader") / "reader.safetensors"
    save_file(model.state_dict(), path)
    return path


@pytest.fixture
def write(tmp_path, reader_weights):
    """Write a policy, with its model beside it; returns the path."""

    def make(model="reader", requirements=NOISE, take=80, passes=2000, folder="."):
        base = tmp_path / folder
        base.mkdir(exist_ok=True)
        shutil.copy(reader_weights, base / "reader.safetensors")
        shutil.copy(Path(planted.__file__), base / "planted.py")
        path = base / "policy.yaml"
        path.write_text(POLICY.format(model=model, requirements=requirements, take=take, passes=passes))
        return path

    return make


@pytest.fixture
def policy(write):
    """As `write`, but read."""
    return lambda *args, **kwargs: read_policy(write(*args, **kwargs))
