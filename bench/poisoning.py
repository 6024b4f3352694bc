"""Poisoning: chosen predictions and accuracy after training from scratch on 1 % of poison, with and without a check.

python bench/poisoning.py [--train 3000] [--targets 10] [--victims 2] [--only KEY …]

MNIST, a part of it: `--train` training images, drawn with seed 0.  Targets are test images that victims and surrogates
of clean data answer rightly, the first of them; the label wanted of each is the surrogates' second choice.  Recipe and
steps were chosen on three or four training images held out, radii are those that are usual for MNIST.  Each result is
kept as it comes; killed, it goes on.  One thread.
"""

import argparse
import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common import read, write
from redoubt.attacks.membership.shadows import TorchTrainer
from redoubt.attacks.poisoning import (
    ChosenFlips,
    GradientMatching,
    InfluencePoint,
    PoisoningAttack,
    RandomFlips,
    Scene,
    Surrogate,
    Target,
    answers_after,
    fit_head,
    rows_allowed,
    surrogates_of,
)
from redoubt.data import Dataset, digest_of
from redoubt.data.idx import read_idx
from redoubt.detectors.poison.label_check import agreeing, kept_rows, passing
from redoubt.games.poisoning import accuracy_drop, admitted, targets_flipped
from redoubt.models import Face
from redoubt.models.adapter import Adapter
from redoubt.records.training import TrainingRecipe

ADAPTER = Adapter(Face((1, 28, 28), 0.0, 1.0, 10))
RECIPE = TrainingRecipe(epochs=10, batch=64, learning_rate=1e-3)
ASKED = 2000  # test images for clean accuracy
NEIGHBOURS = 50
MATCHED = GradientMatching(steps=150, restarts=2)


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the table: an attack, how far it goes, what it knows, and whether the data are checked."""

    key: str
    attack: PoisoningAttack
    share: float = 0.01
    radius: float | None = None
    aimed: bool = True
    checked: bool = False
    knows: bool = False


ROWS = (
    Row("random flips", RandomFlips()),
    Row("chosen flips", ChosenFlips()),
    Row("matching 0.3", MATCHED, radius=0.3),
    Row("matching 0.1", MATCHED, radius=0.1),
    Row("one point", InfluencePoint(), share=1 / 3000),
    Row("chosen flips, checked", ChosenFlips(), checked=True),
    Row("matching 0.3, checked", MATCHED, radius=0.3, checked=True),
    Row("chosen flips, checked, aware", ChosenFlips(), checked=True, knows=True),
    Row("random flips, aimless", RandomFlips(), aimed=False),
    Row("chosen flips, aimless", ChosenFlips(), aimed=False),
    Row("matching 0.3, checked, aware", MATCHED, radius=0.3, checked=True, knows=True),
)


def build(seed: int) -> nn.Module:
    """784-128-10."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))


def images(part: str) -> tuple[Tensor, Tensor]:
    """All images of a part, in 0..1, and labels."""
    raw = read_idx(Path(os.environ["REDOUBT_DATA"]) / "mnist", part)
    x, y = torch.from_numpy(np.array(raw.x)), torch.from_numpy(np.array(raw.y)).long()
    return x.float().div(255).view(-1, 1, 28, 28), y


class Ground:
    """Data, surrogates, victims of clean data, and targets; all from seed 0."""

    def __init__(self, train: int, targets: int, victims: int) -> None:
        x, y = images("train")
        rows = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:train]
        self.data = Dataset(x[rows], y[rows], "idx:mnist/train", digest_of(x[rows], y[rows]))
        self.x, self.y = (some[:ASKED] for some in images("test"))
        self.trainer = TorchTrainer(build, ADAPTER, RECIPE, "bench", batched=False)
        self.seeds = list(range(1, victims + 1))
        self.surrogates = surrogates_of(self.trainer, self.data, [101, 102], ADAPTER)
        self.before = answers_after(self.trainer, self.data, self.x, self.seeds) == self.y
        scores = sum(torch.log_softmax(one.scores(self.x), dim=1) for one in self.surrogates)
        sure = self.before.all(dim=0) & (scores.argmax(dim=1) == self.y)
        second = scores.scatter(1, self.y[:, None], -torch.inf).argmax(dim=1)
        self.targets = [
            (int(at), Target(self.x[at], int(self.y[at]), int(second[at])))
            for at in sure.nonzero().squeeze(1)[:targets]
        ]
        features = self.surrogates[0].look(self.data.x)
        self.passing = passing(features, self.data.y, 10, NEIGHBOURS)

    def scene(self, row: Row) -> Scene:
        """What the adversary of a row has."""
        most = rows_allowed(row.share, len(self.data))
        may = self.passing if row.knows else None
        return Scene(self.data, 10, (0.0, 1.0), most, self.surrogates, row.radius, may)

    def play(self, row: Row, number: int) -> dict[str, Any]:
        """Poison for one target (or none), and what victims then say."""
        began = time.process_time()
        at, target = self.targets[number] if row.aimed else (0, None)
        scene = self.scene(row)
        found = admitted(scene, row.attack.poison(scene, target, number))
        made = time.process_time() - began
        data, result = found.data, {"rows": int(found.rows.sum())}
        if row.checked:
            # The defender's model is trained on the poisoned data, with a seed that the adversary does not know.
            own = Surrogate(self.trainer.fit(data.x, data.y, 500), ADAPTER)
            kept = agreeing(own.look(data.x), data.y, 10, NEIGHBOURS)
            result |= {"caught": int((found.rows & ~kept).sum()), "lost": int((~found.rows & ~kept).sum())}
            data = kept_rows(data, kept)
        said = answers_after(self.trainer, data, self.x, self.seeds)
        after = said == self.y
        drop = accuracy_drop(self.before, after[None])
        result |= {
            "accuracy": float(after.double().mean()),
            "drop": [drop.value, *drop.ends],
            "seconds": [made, time.process_time() - began - made],
        }
        if target is not None:
            result |= {"target": at, "hits": (said[:, at] == target.wanted).tolist()}
        return result


def table(ground: Ground, only: list[str]) -> None:
    """Every row, target by target; what is there is not done again."""
    key = [len(ground.data), len(ground.targets), len(ground.seeds)]
    kept = read("poisoning") or {}
    result = kept if kept.get("key") == key else {"key": key, "rows": {}}
    result |= {
        "train": len(ground.data),
        "asked": ASKED,
        "victims": len(ground.seeds),
        "neighbours": NEIGHBOURS,
        "accuracy": float(ground.before.double().mean()),
    }
    for row in ROWS:
        if only and row.key not in only:
            continue
        done = result["rows"].setdefault(row.key, {"share": row.share, "radius": row.radius, "played": []})
        for number in range(len(done["played"]), len(ground.targets) if row.aimed else 2):
            done["played"].append(ground.play(row, number))
            if row.aimed:
                found = targets_flipped(torch.tensor([one["hits"] for one in done["played"]]))
                done["flipped"] = [found.successes, found.trials, *found.ends]
            write("poisoning", result)
        print(f"bench: {row.key}", done.get("flipped"), done["played"][-1]["accuracy"], flush=True)


def linear(targets: int) -> None:
    """One point, and one flip, against a softmax regression of 900 images of two classes (Koh and Liang 2017, 5.2).

    The victim is convex: there is one, whatever the seed.
    """
    if read("poisoning_linear"):
        return
    (x, y), (tx, ty), found = images("train"), images("test"), {}
    mine = ((y == 4) | (y == 9)).nonzero().squeeze(1)
    mine = mine[torch.randperm(len(mine), generator=torch.Generator().manual_seed(0))[:900]]
    x, y = x[mine], (y[mine] == 9).long()
    asked = ((ty == 4) | (ty == 9)).nonzero().squeeze(1)
    tx, ty = tx[asked], (ty[asked] == 9).long()
    face = Adapter(Face((1, 28, 28), 0.0, 1.0, 2))
    surrogate = Surrogate(nn.Sequential(nn.Flatten(), nn.Linear(784, 2)), face)  # its weights play no part
    head = fit_head(surrogate.look(x), y, 2)
    right = ((head.lift(surrogate.look(tx)) @ head.weights.T).argmax(1) == ty).nonzero().squeeze(1)
    data = Dataset(x, y, "idx:mnist/train", digest_of(x, y))
    for points in (1, 9):
        scene = Scene(data, 2, (0.0, 1.0), points, (surrogate,), None)
        for attack in (InfluencePoint(points=points), ChosenFlips()):
            hits = []
            for at in right[:targets].tolist():
                target = Target(tx[at], int(ty[at]), 1 - int(ty[at]))
                poison = admitted(scene, attack.poison(scene, target, 0)).data
                after = fit_head(surrogate.look(poison.x), poison.y, 2, start=head)
                hits.append(int((after.lift(surrogate.look(tx[at][None])) @ after.weights.T).argmax()) == target.wanted)
            figure = targets_flipped(torch.tensor(hits)[:, None])
            found[f"{attack.name} {points}"] = [figure.successes, figure.trials, *figure.ends]
            print("bench: linear,", attack.name, points, found[f"{attack.name} {points}"], flush=True)
    accuracy = len(right) / len(ty)
    write("poisoning_linear", {"train": len(y), "accuracy": accuracy, "rows": found})


def main() -> None:
    """What is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=int, default=3000)
    parser.add_argument("--targets", type=int, default=10)
    parser.add_argument("--victims", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=[])
    asked = parser.parse_args()
    table(Ground(asked.train, asked.targets, asked.victims), asked.only)
    linear(20)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
