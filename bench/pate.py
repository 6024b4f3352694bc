"""PATE on MNIST: 250 teachers on scattering features of images stood upright, asked about typical inputs first.

python bench/pate.py [votes | search | student | few]

Without a word, whatever is not measured yet, in that order.  As in the papers, the student learns from
9,000 test images without labels and is measured on the last 1,000, which nothing sees before.  Settings are chosen by
`search` in the same game on training images: teachers on the first 50,000, public images from the other 10,000.  That
search is not accounted for.  Votes lie in `.bench/pate`.

Which inputs are asked about, and in which order, is told by the public images alone: those that have others near them
come first.  Nearly all teachers agree on them, so that their answers cost next to nothing, and no check is needed.
`few` asks about 400 only, with noise so large that their cost may be counted whatever the votes, and so be published.
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
from private import FEATURES, GROUPS
from redoubt.bounds.privacy.accountants import epsilon
from redoubt.bounds.privacy.events import NoisyMax
from redoubt.bounds.privacy.ledger import PrivacyLedger
from redoubt.bounds.privacy.spend import quiet, spend
from redoubt.data.idx import read_idx
from redoubt.harden.pate import (
    Answers,
    Cost,
    Gaussian,
    Graph,
    Principal,
    Smoothed,
    ask,
    cast_votes,
    cost_of,
    learn,
    partition,
    release,
)
from redoubt.harden.pate.aggregate import histogram
from redoubt.harden.private import Scattering, cached_features, group_norm, upright
from redoubt.records import digest

TEACHERS, POOL, DELTA, TARGET = 250, 9_000, 1e-5, 1.97
ORDER = 12.0  # of the Renyi divergence; fixed beforehand
LIMIT = TARGET - math.log1p(-1 / ORDER) + math.log(DELTA * ORDER) / (ORDER - 1)
"""What may be spent at that order (Canonne, Kamath and Steinke 2020, proposition 12)."""
DIMENSIONS = 100
RELEASE_NOISE = 10.0  # in smooth sensitivities
DEVIATIONS, ASKED = (30.0, 40.0), (5000, 6500, 8000)
COURSE = {"reach": 2.0, "ridge": 0.1, "rounds": 3, "sure": 0.3}
FEW, SPAN, LOUD = 400, 8000, 60.0  # spread evenly over the most typical; the better of two spans in the search's game
FEW_COURSE = {**COURSE, "rounds": 5}


@dataclasses.dataclass(frozen=True)
class Ground:
    """One game: coordinates of the public inputs, the last 1,000 of which are held back, and the votes on the others.

    Attributes:
        counts: `[POOL, 10]`.
        order: rows of the pool, the typical first.
        public: `[10000, d]`.
        truth: `[10000]`.
    """

    counts: Tensor
    order: Tensor
    public: Tensor
    truth: Tensor


def features_of(part: str) -> tuple[Tensor, Tensor]:
    """Features of images stood upright, `[N, D]`, and labels."""
    raw = read_idx(Path(os.environ["REDOUBT_DATA"]) / "mnist", part)
    x = torch.from_numpy(np.array(raw.x)).float().div(255).unsqueeze(1)
    transform = Scattering()
    features = cached_features(
        FEATURES,
        x,
        digest(np.ascontiguousarray(raw.x).tobytes()),
        f"upright-{transform.name}",
        lambda rows: transform(upright(rows)),
    )
    return features, torch.from_numpy(np.array(raw.y)).long()


def ground(which: str) -> Ground:
    """The game of the `search`, or that of the `test`."""
    x, y = features_of("train")
    if which == "search":
        x, y, seen, truth = x[:50_000], y[:50_000], x[50_000:], y[50_000:]
    else:
        seen, truth = features_of("test")
    held = group_norm(seen, GROUPS).flatten(1)
    axes = Principal.of(held[:POOL], DIMENSIONS, torch.Generator().manual_seed(0))
    public, graph = axes(held), Graph.of(axes(held[:POOL]))
    own = torch.cat([axes(group_norm(rows, GROUPS)) for rows in x.split(2000)])
    parts = partition(len(y), TEACHERS, torch.Generator().manual_seed(0))
    began = time.process_time()

    def heard(done: int) -> None:
        if done % 50 == 0:
            print(f"bench: votes for {which}, {done} of {TEACHERS}, {time.process_time() - began:.0f} s", flush=True)

    teach = Smoothed(graph, 10)
    votes = cast_votes(
        parts, own, y, graph.points, teach, 10, HOME / "pate", f"mnist-{which}-upright-smoothed", heard=heard
    )
    return Ground(histogram(votes, 10), graph.apart.argsort(), public, truth)


def told(aggregator: Gaussian, counts: Tensor, seed: int) -> tuple[Answers, Tensor, Cost]:
    """Answers until what they cost at `ORDER` reaches the limit, the votes that were asked for, and their cost."""
    answers = ask(aggregator, counts, insecure_seed=seed)
    cost = cost_of(aggregator, counts, answers, ORDER)
    within = int((np.cumsum(cost.votes) <= LIMIT).sum())
    kept = Answers(answers.labels[:within], answers.voted[:within], answers.checked[:within])
    return kept, counts[:within], Cost(ORDER, cost.checks[:within], cost.votes[:within])


def taught(game: Ground, rows: Tensor, answers: Answers, course: dict[str, Any] = COURSE) -> Tensor:
    """Whether the student is right on each of the 10,000 public inputs, having learnt from answers about `rows`."""
    labels = torch.full((POOL,), -1)
    labels[rows] = answers.labels
    student = learn(game.public[:POOL], labels, 10, **course)
    return student.scores(game.public).argmax(1) == game.truth


def search() -> None:
    """Noise and number of inputs asked about, by the student's accuracy on all public inputs of the search."""
    game, rows = ground("search"), []
    for deviation, asked in itertools.product(DEVIATIONS, ASKED):
        order = game.order[:asked]
        answers, counts, cost = told(Gaussian(deviation), game.counts[order], 0)
        right = taught(game, order[: len(counts)], answers)
        row = {"deviation": deviation, "asked": asked, "answered": len(counts), "cost": float(cost.votes.sum())}
        rows.append({**row, "pool": float(right[:POOL].double().mean()), "held": float(right[POOL:].double().mean())})
        print("bench: pate, search,", rows[-1], flush=True)
    write("pate_search", rows)


def best() -> tuple[Gaussian, int]:
    """What did best on the public inputs of the search, which are training images."""
    rows = read("pate_search")
    if not rows:
        raise SystemExit("bench: nothing was searched")
    found = max(rows, key=lambda row: float(row["pool"] * POOL + row["held"] * (10_000 - POOL)))
    return Gaussian(found["deviation"]), found["asked"]


def student(seeds: list[int]) -> None:
    """Answers on the test pool, the student's accuracy on the last 1,000, and the spend; kept by seed."""
    done: dict[str, Any] = read("pate") or {}
    aggregator, many = best()
    settings = {"aggregator": dataclasses.asdict(aggregator), "order": ORDER, "asked": many, "course": COURSE}
    seeds = [seed for seed in seeds if done.get(str(seed), {}).get("settings") != settings]
    if not seeds:
        return
    game = ground("test")
    rows = game.order[:many]
    for seed in seeds:
        answers, asked, cost = told(aggregator, game.counts[rows], seed)
        rightly = answers.labels == game.truth[rows[: len(asked)]]
        began = time.process_time()
        right = taught(game, rows[: len(asked)], answers)
        seconds = time.process_time() - began
        freed = release(cost, aggregator, asked, answers, beta=0.2 / ORDER, noise=RELEASE_NOISE, insecure_seed=seed)
        with quiet():
            spent = spend(PrivacyLedger().plus(*cost.events()), DELTA)
            published = spend(PrivacyLedger().plus(*freed.events), DELTA)
        done[str(seed)] = {
            "settings": settings,
            "asked": len(asked),
            "answered rightly": int(rightly.sum()),
            "accuracy": float(right[POOL:].double().mean()),
            "accuracy on the pool": float(right[:POOL].double().mean()),
            "epsilon": spent.epsilon,
            "epsilon by the paper's conversion": float(cost.votes.sum()) + math.log(1 / DELTA) / (ORDER - 1),
            "epsilon published": published.epsilon,
            "published shares": {
                share.event.part: share.share for share in published.shares if share.event.kind == "data-dependent"
            },
            "most votes": torch.histc(asked.max(1).values.double(), bins=25, min=0, max=TEACHERS).tolist(),
            "cost by most votes": _by_votes(asked, cost),
            "teachers' vote": float((game.counts.argmax(1) == game.truth[:POOL]).double().mean()),
            "seconds": seconds,
        }
        print("bench: pate, seed", seed, done[str(seed)], flush=True)
        write("pate", done)


def few(seeds: list[int]) -> None:
    """The student of few answers, whose cost does not depend on the votes; kept by seed."""
    done: dict[str, Any] = read("pate_few") or {}
    seeds = [seed for seed in seeds if str(seed) not in done]
    if not seeds:
        return
    game, aggregator = ground("test"), Gaussian(LOUD)
    rows = game.order[:SPAN][torch.linspace(0, SPAN - 1, FEW).long()]
    spent = epsilon([NoisyMax(deviation=LOUD, times=FEW)], DELTA)
    for seed in seeds:
        answers = ask(aggregator, game.counts[rows], insecure_seed=seed)
        right = taught(game, rows, answers, FEW_COURSE)
        done[str(seed)] = {
            "answers": FEW,
            "deviation": LOUD,
            "answered rightly": int((answers.labels == game.truth[rows]).sum()),
            "accuracy": float(right[POOL:].double().mean()),
            "accuracy on the pool": float(right[:POOL].double().mean()),
            "epsilon": spent,
        }
        print("bench: pate, few, seed", seed, done[str(seed)], flush=True)
        write("pate_few", done)


def _by_votes(asked: Tensor, cost: Cost) -> list[list[float]]:
    """For each tenth of the teachers, the mean cost of an answer on which so many agreed."""
    tenth = (asked.max(1).values * 10 // TEACHERS).clamp(max=9).numpy()
    return [[float(at / 10), float(cost.votes[tenth == at].mean())] for at in range(10) if (tenth == at).any()]


def main() -> None:
    """What is asked for, or whatever is missing."""
    parser = argparse.ArgumentParser()
    parser.add_argument("step", nargs="?", choices=["votes", "search", "student", "few"])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    asked = parser.parse_args()
    if asked.step == "votes":
        for which in ("search", "test"):
            ground(which)
    if asked.step == "search" or (asked.step is None and read("pate_search") is None):
        search()
    if asked.step in (None, "student"):
        student(asked.seeds)
    if asked.step in (None, "few"):
        few(asked.seeds)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
