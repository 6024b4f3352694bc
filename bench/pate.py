"""PATE on MNIST: 250 teachers on scattering features, a confident aggregator, a semi-supervised student.

python bench/pate.py [votes | search | student]

Without a word, whatever is not measured yet, in that order.  As in the papers, the student learns from
9,000 test images without labels and is measured on the last 1,000, which it never sees.  Settings are chosen by
`search` in the same game on training images: teachers on the first 50,000, public images from the other 10,000.  That
search is not accounted for.  Votes lie in `.bench/pate`.
"""

import argparse
import dataclasses
import itertools
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common import HOME, read, write
from private import GROUPS, normalised
from redoubt.bounds.privacy.ledger import PrivacyLedger
from redoubt.bounds.privacy.spend import quiet, spend
from redoubt.data.idx import read_idx
from redoubt.harden.pate import (
    Answers,
    Confident,
    Cost,
    Course,
    Ridge,
    ask,
    cast_votes,
    cost_of,
    learn_consistent,
    partition,
    release,
)
from redoubt.harden.pate.aggregate import histogram

TEACHERS, POOL, DELTA, TARGET = 250, 9_000, 1e-5, 1.97
ORDER = 12.0  # of the Renyi divergence; fixed beforehand
LIMIT = TARGET - math.log1p(-1 / ORDER) + math.log(DELTA * ORDER) / (ORDER - 1)
"""What may be spent at that order (Canonne, Kamath and Steinke 2020, proposition 12)."""
STEPS = 1200
RELEASE_NOISE = 10.0  # in smooth sensitivities


def votes_for(which: str) -> tuple[Tensor, Tensor, Tensor]:
    """Counts `[10000, 10]`, features and labels of the public images: of the `search`, or of the `test`."""
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


def images_for(which: str) -> Tensor:
    """The public images `[10000, 1, 28, 28]` that `votes_for` gives the votes on."""
    raw = read_idx(Path(os.environ["REDOUBT_DATA"]) / "mnist", "train" if which == "search" else "test")
    return torch.from_numpy(np.array(raw.x[-10_000:])).float().div(255).unsqueeze(1)


def told(aggregator: Confident, counts: Tensor, seed: int) -> tuple[Answers, Tensor, Cost]:
    """Answers until what they cost at `ORDER` reaches the limit, the votes that were asked for, and their cost."""
    pool = counts[:POOL]
    answers = ask(aggregator, pool, insecure_seed=seed)
    cost = cost_of(aggregator, pool, answers, ORDER)
    within = int((np.cumsum(cost.checks + cost.votes) <= LIMIT).sum())
    kept = Answers(answers.labels[:within], answers.voted[:within], answers.checked[:within])
    return kept, pool[:within], Cost(ORDER, cost.checks[:within], cost.votes[:within])


def search() -> None:
    """Aggregators by how many they answer rightly for the limit, less five for each wrong answer."""
    counts, _, truth = votes_for("search")
    rows = []
    for threshold, check, deviation in itertools.product((180, 200, 220), (60, 100, 130, 160), (30, 40)):
        aggregator = Confident(threshold, check, deviation)
        answers, asked, _ = told(aggregator, counts[:4000], 0)
        known = answers.labels >= 0
        right = int((answers.labels == truth[: len(asked)])[known].sum())
        rows.append([threshold, check, deviation, len(asked), int(known.sum()), right])
        print("bench: pate, search,", rows[-1], flush=True)
    write("pate_search", rows)


def best() -> Confident:
    """The aggregator that did best on training images."""
    rows = read("pate_search")
    if not rows:
        raise SystemExit("bench: nothing was searched")
    found = max(rows, key=lambda row: float(row[5] - 5 * (row[4] - row[5])))
    return Confident(*found[:3])


def student(seeds: list[int]) -> None:
    """Answers on the test pool, the student's accuracy on the last 1,000, and the spend by part; kept by seed."""
    done: dict[str, Any] = read("pate") or {}
    aggregator = best()
    counts, _, truth = votes_for("test")
    images = images_for("test")
    for seed in seeds:
        settings = {"aggregator": dataclasses.asdict(aggregator), "order": ORDER, "steps": STEPS}
        if done.get(str(seed), {}).get("settings") == settings:
            continue
        answers, asked, cost = told(aggregator, counts, seed)
        known = answers.labels >= 0
        labels = torch.full((POOL,), -1)
        labels[: len(asked)] = answers.labels
        began = time.process_time()
        module = learn_consistent(images[:POOL], labels, 10, Course(steps=STEPS), torch.Generator().manual_seed(seed))
        with torch.no_grad():
            said = torch.cat([module(part) for part in images.split(1000)]).argmax(1)
        right = said == truth
        ledger = PrivacyLedger().plus(*cost.events())
        freed = release(cost, aggregator, asked, answers, beta=0.2 / ORDER, noise=RELEASE_NOISE, insecure_seed=seed)
        with quiet():
            spent = spend(ledger, DELTA)
            published = spend(PrivacyLedger().plus(*freed.events), DELTA)
        renyi = float(cost.checks.sum() + cost.votes.sum())
        done[str(seed)] = {
            "settings": settings,
            "asked": len(asked),
            "answered": int(known.sum()),
            "answered rightly": int((answers.labels == truth[: len(asked)])[known].sum()),
            "accuracy": float(right[POOL:].double().mean()),
            "accuracy on the pool": float(right[:POOL].double().mean()),
            "epsilon": spent.epsilon,
            "epsilon by the paper's conversion": renyi + math.log(1 / DELTA) / (ORDER - 1),
            "epsilon published": published.epsilon,
            "shares": {share.event.part: share.share for share in spent.shares if share.event.kind == "data-dependent"},
            "published shares": {
                share.event.part: share.share for share in published.shares if share.event.kind == "data-dependent"
            },
            "most votes": torch.histc(asked.max(1).values.double(), bins=25, min=0, max=TEACHERS).tolist(),
            "cost by most votes": _by_votes(asked, answers, cost),
            "teachers' vote": float((counts.argmax(1) == truth).double().mean()),
            "seconds": time.process_time() - began,
        }
        print("bench: pate, seed", seed, done[str(seed)], flush=True)
        write("pate", done)


def _by_votes(asked: Tensor, answers: Answers, cost: Cost) -> list[list[float]]:
    """For each tenth of the teachers, the mean cost of an answer on which so many agreed."""
    tenth = (asked.max(1).values * 10 // TEACHERS).clamp(max=9).numpy()
    voted = answers.voted.numpy()
    return [
        [float(at / 10), float(cost.votes[(tenth == at) & voted].mean())]
        for at in range(10)
        if ((tenth == at) & voted).any()
    ]


def main() -> None:
    """What is asked for, or whatever is missing."""
    parser = argparse.ArgumentParser()
    parser.add_argument("step", nargs="?", choices=["votes", "search", "student"])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    asked = parser.parse_args()
    if asked.step in (None, "votes"):
        for which in ("search", "test"):
            votes_for(which)
    if asked.step == "search" or (asked.step is None and read("pate_search") is None):
        search()
    if asked.step in (None, "student"):
        student(asked.seeds)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
