"""Shared ground: where the real data lie, and a small trained model with its policy."""

import os
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from sklearn.datasets import load_digits

import planted
from digits import NOISE, POLICY
from redoubt.policy import read_policy

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session", autouse=True)
def _few_threads():
    """Workers of the test run share the cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def data_root():
    """The folder of the real data sets, if it is there: `REDOUBT_DATA`, or ../shared/data."""
    folder = Path(os.environ.get("REDOUBT_DATA", ROOT.parent / "shared" / "data"))
    if folder.is_dir():
        os.environ["REDOUBT_DATA"] = str(folder)
    return folder if folder.is_dir() else None


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
