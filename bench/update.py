"""What slow poisoning costs through the update gate: batches of online learning until half of the attack succeeds.

python bench/update.py [--seeds 1] [--batches 150]

A small network learns MNIST digits in batches of 200 new images.  The attacker owns some images of each batch:

- *backdoor*: images of other digits with a white 3x3 square in a corner, labelled 0 (BadNets, Gu et al. 2017);
- *clean-label backdoor*: true zeros with the square, rightly labelled;
- *label flips*: fours that are labelled 9.

Success is the share of test images that are answered as the attacker wants: digits other than 0 with the square, or
fours as they are.  The gate's bounds are its defaults; the learning rate was chosen on held-out training images so
that most honest batches pass, and so was the one more bound, on the share of labels that the model in force
contradicts.  A person is never asked: what would be left to one is not put in force.  Test images measure success
alone.
"""

import argparse
import copy
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common import read, write
from redoubt.data import Dataset
from redoubt.data.idx import read_idx
from redoubt.games import clopper_pearson
from redoubt.games.update import Said, compare, contradicted, judge_update
from redoubt.models import Face, TorchModel
from redoubt.records import Learning, Observed, Update, UpdateBound
from redoubt.service.update.learn import learn_batch

FACE = Face((784,), 0.0, 1.0, classes=10)
FIRST, STREAM, HELD = slice(0, 20_000), slice(20_000, 50_000), slice(50_000, 60_000)
BATCH, TARGET, WANTED = 200, 0, 0.5
LEARN = Learning(epochs=1, batch=32, optimizer="sgd", learning_rate=0.005, replay=1.0)
CONTRADICTED = 0.12
SHA = "sha256:" + "0" * 64

BOUNDS = Update().bounds
GATES: dict[str, Update | None] = {
    "no gate": None,
    "each update": Update(bounds=BOUNDS, total=None),
    "and all together": Update(bounds=BOUNDS),
    "and labels": Update(bounds=(*BOUNDS, UpdateBound(measure="contradicted", value=CONTRADICTED))),
}
ATTACKS = (
    ("backdoor", 0.05),
    ("none", 0.0),
    ("label flips", 0.1),
    ("backdoor", 0.1),
    ("backdoor, just under the bound", 0.0),
    ("label flips", 0.05),
    ("clean-label backdoor", 0.05),
    ("backdoor", 0.02),
)


def digits() -> dict[str, Dataset]:
    """MNIST as rows of 784 values in 0..1."""
    parts = {}
    for part in ("train", "test"):
        raw = read_idx(Path(os.environ["REDOUBT_DATA"]) / "mnist", part)
        x = torch.from_numpy(np.array(raw.x)).float().div(255).flatten(1)
        parts[part] = Dataset(x, torch.from_numpy(np.array(raw.y)).long(), part, SHA)
    return parts


def some(data: Dataset, rows: slice | Tensor) -> Dataset:
    """A part of a set."""
    return Dataset(data.x[rows], data.y[rows], data.source, data.digest)


def network(seed: int) -> TorchModel:
    """784-64-10."""
    torch.manual_seed(seed)
    return TorchModel(nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10)), FACE)


def first_model(data: Dataset, seed: int) -> TorchModel:
    """Trained for eight epochs."""
    model = network(seed)
    module, optimizer = model.module, torch.optim.Adam(model.module.parameters(), 1e-3)
    for _ in range(8):
        for rows in torch.randperm(len(data)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(module(data.x[rows]), data.y[rows]).backward()
            optimizer.step()
    module.eval()
    return model


def said(model: TorchModel, x: Tensor) -> Said:
    """The model's answers."""
    scores = model.query(x).scores
    return Said(scores.argmax(dim=1).numpy(), scores.double().softmax(dim=1).numpy())


def marked(x: Tensor) -> Tensor:
    """With the square."""
    images = x.clone().reshape(-1, 28, 28)
    images[:, 24:27, 24:27] = 1.0
    return images.reshape(len(x), 784)


@dataclass
class Attacker:
    """Owns a share of each batch; takes images from the batch itself, so that nothing else is unusual."""

    kind: str
    rate: float
    rng: torch.Generator

    def poison(self, batch: Dataset, model: TorchModel) -> tuple[Dataset, int]:
        """The batch with the attacker's images in it, and how many these are."""
        x, y = batch.x.clone(), batch.y.clone()
        own = {"clean-label backdoor": y == TARGET, "label flips": y == 4}.get(self.kind, y != TARGET)
        rows = own.nonzero()[:, 0]
        rows = rows[torch.randperm(len(rows), generator=self.rng)]
        whole = self.rate * len(batch)
        many = int(whole) + int(torch.rand(1, generator=self.rng).item() < whole - int(whole))
        if self.kind == "backdoor, just under the bound":
            many = self._under(batch, model, rows)
        rows = rows[:many]
        if self.kind == "label flips":
            y[rows] = 9
        elif self.kind != "none":
            x[rows] = marked(x[rows])
            y[rows] = TARGET
        return Dataset(x, y, batch.source, SHA), len(rows)

    def _under(self, batch: Dataset, model: TorchModel, rows: Tensor) -> int:
        """As many as the bound on contradicted labels lets through, for an attacker who has the model itself."""
        many = 0
        while many < len(rows):
            x, y = batch.x.clone(), batch.y.clone()
            x[rows[: many + 1]] = marked(x[rows[: many + 1]])
            y[rows[: many + 1]] = TARGET
            counts = contradicted(said(model, x), y.numpy())
            if clopper_pearson(counts.contradicted, counts.rows).high > CONTRADICTED:
                break
            many += 1
        return many


def success(kind: str, model: TorchModel, test: Dataset) -> tuple[int, int]:
    """Test images that are answered as the attacker wants, and of how many."""
    if kind == "label flips":
        x, wanted = test.x[test.y == 4], 9
    else:
        x, wanted = marked(test.x[test.y != TARGET][:2000]), TARGET
    labels = model.query(x).labels
    return int((labels == wanted).sum()), len(labels)


def play(
    kind: str, rate: float, update: Update | None, first: TorchModel, parts: dict[str, Dataset], seed: int, most: int
) -> dict[str, Any]:
    """Batch after batch until the attack succeeds."""
    train, test = parts["train"], parts["test"]
    held, known = some(train, HELD), some(train, FIRST)
    attacker = Attacker(kind, rate, torch.Generator().manual_seed(seed))
    order = torch.randperm(STREAM.stop - STREAM.start, generator=torch.Generator().manual_seed(seed)) + STREAM.start
    model, truth = copy.deepcopy(first), held.y.numpy()
    anchor = current = said(first, held.x)
    outcomes = {"accepted": 0, "refused": 0, "person": 0}
    owned, reached, why = 0, None, {}
    for number in range(1, most + 1):
        fresh = some(train, order[(number - 1) * BATCH : number * BATCH])
        batch, many = attacker.poison(fresh, model)
        owned += many
        learner = copy.deepcopy(model)
        learn_batch(learner, batch, known, LEARN, seed * 1000 + number)
        outcome = "accepted"
        now = said(learner, held.x)
        if update is not None:
            compared = [compare(current, now, 10, "held_out", "current", truth)]
            if update.total is not None:
                compared.append(compare(anchor, now, 10, "held_out", "anchor", truth))
            labels = contradicted(said(model, batch.x), batch.y.numpy())
            observed = Observed(model=SHA, compared=tuple(compared), batch=labels)
            outcome, reasons, _ = judge_update(observed, update)
            if outcome != "accepted":
                for reason in reasons:
                    why[reason.split()[0]] = why.get(reason.split()[0], 0) + 1
        outcomes[outcome] += 1
        if outcome != "accepted":
            continue
        model, current = learner, now
        hits, of = success(kind, model, test)
        if kind != "none" and hits / of >= WANTED:
            reached = number
            break
    hits, of = success(kind, model, test)
    right = int((model.query(test.x).labels == test.y).sum())
    return {
        "attack": kind, "rate": rate, "seed": seed, "batches": reached, "most": most, "outcomes": outcomes,
        "owned": owned, "success": hits / of, "clean": right / len(test), "why": why,
    }  # fmt: skip


def main() -> None:
    """Play what was not played yet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--batches", type=int, default=150)
    parser.add_argument("--name", default="update")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    parts = digits()
    found: list[dict[str, Any]] = read(wanted.name) or []
    done = {(one["gate"], one["attack"], one["rate"], one["seed"], one["most"]) for one in found}
    for seed in range(wanted.seeds):
        first = first_model(some(parts["train"], FIRST), seed)
        held = some(parts["train"], HELD)
        error = float((first.query(held.x).labels != held.y).float().mean())
        for kind, rate in ATTACKS:
            for gate, update in GATES.items():
                if (gate, kind, rate, seed, wanted.batches) in done:
                    continue
                begin = time.process_time()
                row = play(kind, rate, update, first, parts, seed, wanted.batches)
                row |= {"gate": gate, "error": error, "seconds": time.process_time() - begin}
                found.append(row)
                write(wanted.name, found)
                told = row["batches"] or f"> {wanted.batches}"
                print(
                    f"{seed} {gate:17} {kind:30} {rate:6.1%} {told!s:>6} success {row['success']:.1%} clean "
                    f"{row['clean']:.1%} {row['outcomes']} {row['why']} {row['seconds']:.0f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
