"""One defence under every kind of evaluation, on the same test images; what is finished is kept at once.

All figures count an image as standing if the defence answers it rightly and without refusing it, and still answers it
rightly, or refuses it, after the attack.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import common
from gallery import store
from gallery.attack import answer, ascend, fooled
from gallery.defence import Aim, Defence
from redoubt.assess.suite import STANDARD, choose
from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.games import clopper_pearson, play_round
from redoubt.models import TorchModel
from redoubt.perturb import LinfBall
from redoubt.records import Access, Budget

ADAPTIVE = "adaptive"
PARTS = ("clean", "authors", "by hand", "undefended", "standard", "adaptive")


def evaluate(name: str, count: int, parts: Sequence[str] = PARTS) -> dict[str, Any]:
    """Fill in what is missing of `.bench/out/gallery/<name>.json`.

    Args:
        name: of the defence.
        count: test images, class-balanced, seed 0.
        parts: which evaluations; `adaptive` is left out where no strategy of that name is there.
    """
    defence = store.find(name)
    file = f"gallery/{name}"
    found = common.read(file)
    if found is None or found["images"] != count:
        found = {"name": name, "paper": defence.paper, "data": defence.data, "radius": defence.radius, "images": count}
        found |= {"authors_words": defence.authors.words, "by_hand_words": defence.by_hand.words}
    bench = Bench(defence, count)
    for part in parts:
        if part not in found and (part != ADAPTIVE or _named(adaptive=True)):
            print(f"gallery: {name}, {part}", flush=True)
            begin = time.perf_counter()
            torch.manual_seed(0)  # random defences draw from torch's own generator
            found[part] = bench.parts[part]() | {"seconds": time.perf_counter() - begin}
            common.write(file, found)
    return found


class Bench:
    """A defence, the undefended network, and the images."""

    def __init__(self, defence: Defence, count: int) -> None:
        self.defence = defence
        self.plain, self.defended = store.plain(defence.data), store.load(defence.name)
        self.x, self.y = store.images(f"{defence.data}/test", count)
        self.parts: dict[str, Callable[[], dict[str, Any]]] = {
            "clean": self.clean,
            "authors": lambda: self.attacked(defence.authors),
            "by hand": lambda: self.attacked(defence.by_hand),
            "undefended": self.undefended,
            "standard": lambda: self.played(self.defended, _named(adaptive=False)),
            "adaptive": lambda: self.played(self.defended, _named(adaptive=True)),
        }

    def clean(self) -> dict[str, Any]:
        """Right answers, and refusals, of untouched images."""
        labels, refused = answer(self.defended, self.x)
        own, _ = answer(self.plain, self.x)
        return {
            "standing": share((labels == self.y) & ~refused),
            "refused": share(refused),
            "undefended": share(own == self.y),
        }

    def attacked(self, aim: Aim) -> dict[str, Any]:
        """Who stands after an attack of the gallery's own."""
        labels, refused = answer(self.defended, self.x)
        right = (labels == self.y) & ~refused
        moved = ascend(aim, self.defended, self.plain, self.x, self.y, self.defence.radius)
        if float((moved - self.x).abs().max()) > self.defence.radius * 1.0001 or moved.min() < 0 or moved.max() > 1:
            raise ValueError(f"{aim.words} left the ball")
        return {"standing": share(right & ~fooled(self.defended, moved, self.y))}

    def undefended(self) -> dict[str, Any]:
        """The undefended network under the standard suite; the same for all defences on the same ground."""
        file = f"gallery/plain_{self.defence.data}_{self.defence.radius}"
        known = common.read(file)
        if known is None or known["images"] != len(self.x):
            known = self.played(self.plain, _named(adaptive=False)) | {"images": len(self.x)}
            common.write(file, known)
        return {"standing": known["standing"]}

    def played(self, module: nn.Module, strategies: Sequence[EvasionAttack]) -> dict[str, Any]:
        """Who stands after these strategies, each against whom those before it left."""
        model = TorchModel(module, store.FACE)
        within = LinfBall(self.defence.radius, 0.0, 1.0)
        standing = model.query(self.x).labels == self.y
        passes = torch.zeros(len(self.x), dtype=torch.int64)
        rounds = []
        for number, attack in enumerate(strategies):
            rows = standing.nonzero()[:, 0]
            if not len(rows):
                break
            rng = torch.Generator().manual_seed(number)
            x, y = self.x[rows], self.y[rows]
            played = play_round(model, attack, x, y, within, Access.GRADIENTS, Budget(), rng)
            standing[rows[played.fooled]] = False
            passes[rows] += played.meter.passes
            rounds.append({"strategy": attack.name, "fooled": int(played.fooled.sum()), "broke": played.broke})
        return {"standing": share(standing), "passes": float(passes.double().mean()), "rounds": rounds}


def _named(*, adaptive: bool) -> list[EvasionAttack]:
    """The standard suite, or the adaptive search of it, or nothing where there is none."""
    if adaptive:
        return [attack for attack in STANDARD if attack.name == ADAPTIVE]
    within = LinfBall(0.1, 0.0, 1.0)  # which strategies fit does not hang on the radius
    return [bout.attack for bout in choose(within, Access.GRADIENTS, None) if bout.attack.name != ADAPTIVE]


def share(which: Tensor) -> dict[str, float]:
    """How many, of how many, and the 95 % interval of the share."""
    hits, total = int(which.sum()), len(which)
    interval = clopper_pearson(hits, total)
    return {"hits": hits, "of": total, "low": interval.low, "high": interval.high}
