"""Shared ground: where the real data lie, and a small trained model with its policy."""

import os
from pathlib import Path

import pytest
import torch

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
