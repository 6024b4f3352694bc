"""Policies over small digit readers, and a suite that is quick."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from redoubt.attacks.evasion import APGD, RandomSearch, Square

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


def lay(folder: Path, module: str, factory: str, epochs: int) -> None:
    """400 digits to train on, 300 to test on, and a network that knows them: what a policy names, beside each other.

    Args:
        folder: gets `train.npz`, `test.npz`, `w.safetensors` and the module.
        module: its name.
        factory: its source, which defines `build()`.
        epochs: of training.
    """
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    for name, rows in (("train", slice(0, 400)), ("test", slice(1000, 1300))):
        np.savez(folder / f"{name}.npz", x=x[rows], y=y[rows])
    (folder / f"{module}.py").write_text(factory)
    namespace: dict = {}
    exec(factory, namespace)  # the module that the policy names
    torch.manual_seed(9)
    network = namespace["build"]()
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    own, labels = torch.tensor(x[:400]), torch.tensor(y[:400])
    for _ in range(epochs):
        for rows in torch.randperm(400).split(32):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(own[rows]), labels[rows]).backward()
            optimizer.step()
    save_file(network.state_dict(), folder / "w.safetensors")
