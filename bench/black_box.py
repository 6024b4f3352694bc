"""Attacks by queries beside ART, foolbox and pyautoattack: queries until the first wrong answer inside the set.

python bench/black_box.py [--images N] [--limit N] [--only SETTING] [--contestants NAME] [--part train]

All contestants ask one counting oracle, one image at a time: same images, all answered rightly, same set, same limit.
The oracle ends an attack at its first wrong answer inside the set, whatever the attack meant the query for, and counts
a point that is asked twice once, so that no library pays for asking again what it knows.  The clean image is free.
Peers run with the parameters that their authors recommend, raised only where an attack would stop before the limit.

The radii for the plain model are such that attacks by gradients fool at least 95 % of training images; those for the
hardened one are its policy's.  Our own attacks' constants were chosen on training images (`--part train`).
"""

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import art.attacks.evasion
import art.estimators.classification
import foolbox
import numpy as np
import numpy.typing as npt
import pyautoattack.square
import torch
from torch import Tensor, nn

from common import images, model_of, policy_of, read, write
from redoubt.attacks.evasion import NES, EvasionAttack, HopSkipJump, RayS, Square
from redoubt.data import load_data
from redoubt.games import measured, play_round
from redoubt.models import Model, TorchModel
from redoubt.perturb import L2Ball, LinfBall
from redoubt.records import Access, Budget

Ball = LinfBall | L2Ball
Floats = npt.NDArray[np.float32]

np.mat = np.asmatrix  # type: ignore[attr-defined]  # which GeoDA of ART 1.20 still calls

BUDGETS = (10, 25, 50, 100, 250, 500, 1000, 2500, 5000)
CLASSES, SHAPE = 10, (1, 28, 28)


class Ended(Exception):
    """The image has fallen, or its limit is spent."""


@dataclass
class Oracle:
    """One image's account: what it was asked, and when it first answered wrongly inside the set."""

    module: nn.Module
    x: Tensor  # [1, 1, 28, 28]
    label: int
    within: Ball
    limit: int
    fell_after: int | None = None
    known: dict[bytes, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.known[self.x.numpy().tobytes()] = self._ask(self.x)[0]

    @property
    def spent(self) -> int:
        return len(self.known) - 1

    def _ask(self, points: Tensor) -> Tensor:
        with torch.no_grad():
            answers: Tensor = self.module(points)
        return answers

    def __call__(self, points: Tensor) -> Tensor:
        """Logits `[B, 10]` of `[B, 1, 28, 28]`.

        Raises:
            Ended: a point of these fell, or one more query would be one too many.
        """
        points = points.detach().to(torch.float32).contiguous()
        keys = [point.numpy().tobytes() for point in points]
        new = {key: row for row, key in reversed(list(enumerate(keys))) if key not in self.known}
        order = sorted(new.values())[: self.limit - self.spent]
        if order:
            fresh = points[order]
            logits = self._ask(fresh)
            inside = self.within.contains(self.x, fresh)
            hits = ((logits.argmax(dim=1) != self.label) & inside).nonzero()
            if len(hits):
                self.fell_after = self.spent + int(hits[0]) + 1
                raise Ended
            self.known.update(zip((keys[row] for row in order), logits, strict=True))
        if len(order) < len(new):
            raise Ended
        return torch.stack([self.known[key] for key in keys])


Attack = Callable[[Oracle, int], None]
"""Attacks the oracle's image by a seed, until `Ended`, or gives up."""


@dataclass(frozen=True)
class Contestant:
    """One implementation. `settings`: its parameters, for the table."""

    name: str
    library: str
    attack: Attack
    settings: str = ""


# ── ours ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Asked(Model):
    """The oracle under a model's face."""

    def __init__(self, oracle: Oracle, like: TorchModel) -> None:
        super().__init__(like.face)
        self.oracle = oracle

    def _scores(self, x: Tensor) -> Tensor:
        return self.oracle(x)

    def digest(self) -> str:
        return "sha256:" + "0" * 64


def ours(strategy: EvasionAttack, like: TorchModel) -> Contestant:
    """A strategy as it ships."""

    def attack(oracle: Oracle, seed: int) -> None:
        rng, y = torch.Generator().manual_seed(seed), torch.tensor([oracle.label])
        budget = Budget(queries=oracle.limit)
        played = play_round(Asked(oracle, like), strategy, oracle.x, y, oracle.within, strategy.needs, budget, rng)
        if played.broke is not None:
            raise SystemExit(f"{strategy.name} broke: {played.broke}")

    told = ", ".join(f"{key} {value}" for key, value in strategy.parameters.items() if value is not None)
    return Contestant(f"redoubt {strategy.name}", "redoubt", attack, told)


# ── theirs ───────────────────────────────────────────────────────────────────────────────────────────────────────


def of_art(build: Callable[[Any, Oracle], Any], name: str, settings: str) -> Contestant:
    """An attack of ART, over its black-box classifier."""

    def attack(oracle: Oracle, seed: int) -> None:
        np.random.seed(seed)

        def predict(points: Floats) -> Floats:
            answers: Floats = oracle(torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32))).numpy()
            return answers

        classifier = art.estimators.classification.BlackBoxClassifierNeuralNetwork(
            predict, SHAPE, CLASSES, clip_values=(0.0, 1.0)
        )
        build(classifier, oracle).generate(oracle.x.numpy(), np.eye(CLASSES, dtype=np.float32)[[oracle.label]])

    return Contestant(f"ART {name}", "ART", attack, settings)


class Through(nn.Module):
    """The oracle as a module."""

    def __init__(self, oracle: Oracle) -> None:
        super().__init__()
        self.oracle = oracle

    def forward(self, x: Tensor) -> Tensor:
        return self.oracle(x)


def of_foolbox(build: Callable[[], Any], name: str, settings: str) -> Contestant:
    """An attack of foolbox."""

    def attack(oracle: Oracle, seed: int) -> None:
        torch.manual_seed(seed)
        np.random.seed(seed)
        model = foolbox.PyTorchModel(Through(oracle).eval(), bounds=(0, 1), device="cpu")
        build().run(model, oracle.x, foolbox.criteria.Misclassification(torch.tensor([oracle.label])))

    return Contestant(f"foolbox {name}", "foolbox", attack, settings)


def of_autoattack() -> Contestant:
    """Square of pyautoattack, the authors' own implementation."""

    def attack(oracle: Oracle, seed: int) -> None:
        norm = "Linf" if isinstance(oracle.within, LinfBall) else "L2"
        square = pyautoattack.square.SquareAttack(
            oracle, norm=norm, eps=oracle.within.radius, n_queries=oracle.limit, seed=seed, device="cpu"
        )
        square.perturb(oracle.x, torch.tensor([oracle.label]))

    return Contestant("pyautoattack SquareAttack", "pyautoattack", attack, "p_init 0.8, schedule fitted to the limit")


def art_square(classifier: Any, oracle: Oracle) -> Any:
    """Its schedule fitted to the limit, as the paper's is to 10,000."""
    norm = np.inf if isinstance(oracle.within, LinfBall) else 2
    return art.attacks.evasion.SquareAttack(
        classifier, norm=norm, eps=oracle.within.radius, max_iter=oracle.limit, verbose=False
    )


def art_hopskipjump(classifier: Any, oracle: Oracle) -> Any:
    norm = np.inf if isinstance(oracle.within, LinfBall) else 2
    return art.attacks.evasion.HopSkipJump(classifier, norm=norm, max_iter=200, verbose=False)


def art_geoda(classifier: Any, oracle: Oracle) -> Any:
    norm = np.inf if isinstance(oracle.within, LinfBall) else 2
    return art.attacks.evasion.GeoDA(classifier, norm=norm, max_iter=oracle.limit, verbose=False)


def art_sign_opt(classifier: Any, oracle: Oracle) -> Any:
    return art.attacks.evasion.SignOPTAttack(classifier, targeted=False, query_limit=oracle.limit)


def scoring(like: TorchModel) -> list[Contestant]:
    """Who sees scores."""
    return [
        ours(Square(), like),
        ours(NES(), like),
        of_art(art_square, "SquareAttack", "p_init 0.8, max_iter = the limit"),
        of_autoattack(),
    ]


def labelling(like: TorchModel, within: Ball) -> list[Contestant]:
    """Who sees labels only."""
    mine: list[EvasionAttack] = [RayS(), HopSkipJump()]
    theirs = [of_art(art_hopskipjump, "HopSkipJump", "as shipped, max_iter 200")]
    if isinstance(within, LinfBall):
        theirs.append(
            of_foolbox(lambda: foolbox.attacks.HopSkipJumpAttack(constraint="linf"), "HopSkipJumpAttack", "as shipped")
        )
    else:
        theirs += [
            of_foolbox(lambda: foolbox.attacks.HopSkipJumpAttack(constraint="l2"), "HopSkipJumpAttack", "as shipped"),
            of_foolbox(foolbox.attacks.BoundaryAttack, "BoundaryAttack", "as shipped"),
            of_art(art_sign_opt, "SignOPTAttack", "as shipped, untargeted, query_limit = the limit"),
        ]
    theirs.append(of_art(art_geoda, "GeoDA", "as shipped, max_iter = the limit"))
    return [ours(attack, like) for attack in mine] + theirs


# ── the race ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Setting:
    """A model, a set, and what is shown."""

    which: str
    within: Ball
    access: Access

    @property
    def name(self) -> str:
        return f"{self.which}, {self.within}, {self.access.name.lower()}"


def linf(radius: float) -> LinfBall:
    return LinfBall(radius, 0.0, 1.0)


def l2(radius: float) -> L2Ball:
    return L2Ball(radius, 0.0, 1.0)


SETS = (("plain", linf(0.15)), ("plain", linf(0.2)), ("plain", l2(2.0)), ("hardened", linf(0.3)), ("hardened", l2(2.0)))
SETTINGS = [Setting(which, within, access) for access in (Access.SCORES, Access.LABEL) for which, within in SETS]


def race(contestant: Contestant, module: nn.Module, x: Tensor, y: Tensor, within: Ball, limit: int) -> list[int | None]:
    """Queries until each image fell; None where it did not."""
    fell: list[int | None] = []
    for row, (image, label) in enumerate(zip(x, y, strict=True)):
        oracle = Oracle(module, image[None], int(label), within, limit)
        # Attacks end by the oracle; those that give up before, some of them by an exception, have failed there.
        try:
            contestant.attack(oracle, row)
        except Ended:
            pass
        except (ValueError, IndexError, RuntimeError, AssertionError) as error:
            if contestant.library == "redoubt":
                raise
            print(f"  {contestant.name} gave up on image {row}: {error}", flush=True)
        fell.append(oracle.fell_after)
    return fell


def summed(fell: Sequence[int | None]) -> dict[str, Any]:
    """Success with its interval, median and mean queries of the fallen, the same at 90 % success, and the curve."""
    spent = sorted(queries for queries in fell if queries is not None)
    needed = -(-len(fell) * 9 // 10)
    found = measured("attack_success", len(spent), len(fell)).interval
    return {
        "fell": list(fell),
        "success": len(spent) / len(fell),
        "low": found.low,
        "high": found.high,
        "median": statistics.median(spent) if spent else None,
        "mean": statistics.fmean(spent) if spent else None,
        "median_at_90": statistics.median(spent[:needed]) if len(spent) >= needed else None,
        "reach_90": spent[needed - 1] if len(spent) >= needed else None,
        "curve": {budget: sum(queries <= budget for queries in spent) / len(fell) for budget in BUDGETS},
    }


def data_of(part: str, which: str, count: int) -> tuple[Tensor, Tensor]:
    """The first images of the part that the model answers rightly."""
    model = model_of(which)
    if part == "test":
        data = images(which)
    else:
        file = policy_of(which)
        source = file.policy.data.test.model_copy(update={"source": file.policy.data.train.source, "take": 1000})
        data = load_data(source, model.face, file.base, file.place)
    right = (model.query(data.x).labels == data.y).nonzero().squeeze(1)[:count]
    return data.x[right], data.y[right]


def run(setting: Setting, part: str, count: int, limit: int, names: str) -> dict[str, Any]:
    """One setting's race."""
    model = model_of(setting.which)
    x, y = data_of(part, setting.which, count)
    field_ = scoring(model) if setting.access is Access.SCORES else labelling(model, setting.within)
    found = {}
    for contestant in field_:
        if not any(name in contestant.name for name in names.split(",")):
            continue
        begin = time.perf_counter()
        result = summed(race(contestant, model.module, x, y, setting.within, limit))
        seconds = time.perf_counter() - begin
        found[contestant.name] = result | {"settings": contestant.settings, "library": contestant.library}
        shown = {key: result[key] for key in ("success", "median", "mean", "median_at_90", "reach_90")}
        print(f"  {contestant.name}: {shown} ({seconds:.0f} s)", flush=True)
    return {
        "name": setting.name,
        "model": setting.which,
        "within": str(setting.within),
        "access": setting.access.name.lower(),
        "images": len(x),
        "limit": limit,
        "contestants": found,
    }


def main() -> None:
    """All settings, or those whose name contains `--only`; what is measured already is kept."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--limit", type=int, default=5000)
    parser.add_argument("--only", default="", help="part of the names of the settings")
    parser.add_argument("--contestants", default="", help="parts of names, by commas; nothing is kept then")
    parser.add_argument("--part", choices=("test", "train"), default="test", help="train: nothing is kept")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")  # foolbox of starts that it did not find, ART of divisions by zero
    torch.set_num_threads(1)
    for setting in SETTINGS:
        kept = asked.part == "test" and not asked.contestants
        if asked.only in setting.name and not (kept and read(f"black_box/{setting.name}")):
            print(f"bench: black box, {setting.name}", flush=True)
            result = run(setting, asked.part, asked.images, asked.limit, asked.contestants)
            if kept:
                write(f"black_box/{setting.name}", result)


if __name__ == "__main__":
    os.chdir(Path(__file__).parent)
    main()
