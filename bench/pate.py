"""PATE on MNIST: 250 teachers on scattering features, a confident aggregator, a semi-supervised student.

python bench/pate.py [votes | search | student]

Without a word, whatever is not measured yet, in that order.  As in the papers, the student learns from unlabelled test images
and is measured on the last 1,000 test images, which it never sees; 9,000 are its pool.  Settings are chosen by `search` in
the same game on training images: teachers on the first 50,000, a pool and 1,000 images to be measured on from the other 10,000.
That search is not accounted for.
"""

import argparse
import itertools
import statistics
import time
from typing import Any

import torch
from torch import Tensor

from common import HOME, read, write
from private import GROUPS, normalised
from redoubt.bounds.privacy.accountants import epsilon
from redoubt.bounds.privacy.ledger import PrivacyLedger
from redoubt.bounds.privacy.spend import quiet, spend
from redoubt.harden.pate import Confident, Ridge, ask, cast_votes, cost_of, learn, partition, release
from redoubt.harden.pate.aggregate import histogram

TEACHERS, POOL, DELTA, TARGET = 250, 9_000, 1e-5, 1.97
SEEDS = range(5)
ORDER = 14.0  # of the Renyi divergence; fixed beforehand


def votes_for(which: str) -> tuple[Tensor, Tensor, Tensor]:
    """Counts `[10000, 10]`, features `[10000, D]` and labels of the public images: of the `search`, or of the `test`."""
    x, y = normalised("mnist", "train", GROUPS)
    if which == "search":
        x, y, public, truth = x[:50_000], y[:50_000], x[50_000:], y[50_000:]
    else:
        public, truth = normalised("mnist", "test", GROUPS)
    parts = partition(len(y), TEACHERS, torch.Generator().manual_seed(0))
    began = time.process_time()

    def heard(done: int) -> None:
        if done % 50 == 0:
            print(f"bench: votes for {which}, {done} of {TEACHERS}, {time.process_time() - began:.0f} s", flush=True)

    votes = cast_votes(
        parts, x, y, public, Ridge(10), 10, HOME / "pate", f"mnist-{which}-{GROUPS}-ridge-0.01", heard=heard
    )
    return histogram(votes, 10), public, truth


def main() -> None:
    """What is asked for, or whatever is missing."""
    for which in ("search", "test"):
        counts, _, truth = votes_for(which)
        print(which, float((counts.argmax(1) == truth).double().mean()), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
