"""Two processes train the same model as one, up to the rounding of sums; only the first one writes."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from digits import NOISE
from redoubt.harden import harden
from redoubt.harden.parallel import share_of
from redoubt.policy import read_policy

# Adam magnifies how sums are rounded, and so does TRADES, which starts where its objective is hardly more than that.
PLAIN = "epochs: 2, warmup: 1, batch: 64, optimizer: sgd, learning_rate: 0.02"
RECIPES = {
    "mart-awp": f"{PLAIN}, steps: 2, loss: mart, weight_perturbation: 0.01, average: 0.9",
    "free": f"{PLAIN}, attack: free, replays: 2",
}


@pytest.mark.parametrize(("size", "world"), [(5, 2), (1, 3), (128, 3), (2, 2)])
def test_every_row_belongs_to_one_process(size, world):
    rows = [row for rank in range(world) for row in range(size)[share_of(size, rank, world)]]
    assert rows == list(range(size))


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_two_processes_train_the_same_model_as_one(write, tmp_path, recipe):
    smooth = NOISE.replace("linf, radius: 0.04", "l2, radius: 0.4")  # a sign would magnify how sums are rounded
    path = write(requirements=f"{smooth}\nharden: {{against: noise, {recipe}}}")
    harden(read_policy(path), tmp_path / "one")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "redoubt", "harden", str(path), "-o", str(tmp_path / "two")],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("hardened against") == 1
    one, two = (load_file(tmp_path / folder / "model.safetensors") for folder in ("one", "two"))
    before = load_file(path.parent / "reader.safetensors")
    for name in one:
        assert torch.allclose(one[name], two[name], atol=2e-4), name
        assert not torch.allclose(one[name], before[name], atol=2e-3), name
