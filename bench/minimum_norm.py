"""The nearest wrong answer: ours beside FAB-T and foolbox's FMN, DDN, Carlini-Wagner and DeepFool, by norm and passes.

python bench/minimum_norm.py [--images N] [--models plain hardened] [--norms linf l2 l1 l0]

One process, same model, same images: those of the test set that the model answers rightly.  Passes are counted at the
module: a forward pass of an image is one, and a forward pass that is asked for a gradient counts its backward pass too.
Each result is judged alike: the point is clipped to the range, asked about again, and its norm measured.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import foolbox
import torch
from pyautoattack.fab_pt import FABAttack_PT
from torch import Tensor, nn

from common import OUT, images, model_of, read, write
from redoubt.attacks.evasion import FMN, CarliniWagner, DeepFool, EvasionAttack, SigmaZero
from redoubt.games import play_round
from redoubt.models import TorchModel
from redoubt.perturb import L0Ball, L1Ball, L2Ball, LinfBall, NormBall
from redoubt.records import Access, Budget

BALLS: dict[str, NormBall] = {
    "linf": LinfBall(0.3, 0.0, 1.0),
    "l2": L2Ball(2.0, 0.0, 1.0),
    "l1": L1Ball(10.0, 0.0, 1.0),
    "l0": L0Ball(20, 0.0, 1.0),
}
RADII = {
    "linf": (0.05, 0.1, 0.2, 0.3, 0.35),
    "l2": (0.5, 1.0, 1.5, 2.0, 3.0),
    "l1": (2.5, 5.0, 7.5, 10.0, 15.0),
    "l0": (2, 5, 10, 20, 40),
}
NAMES = {"linf": "Linf", "l2": "L2", "l1": "L1", "l0": "L0"}

Contender = Callable[[Tensor, Tensor], Tensor]  # images and labels to perturbed images


class Counted(nn.Module):
    """A module that counts the passes of images through it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.passes = module, 0

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        self.passes += len(x) * (2 if x.requires_grad else 1)
        logits: Tensor = self.module(x)
        return logits


def ours(attack: EvasionAttack, model: TorchModel, ball: NormBall) -> Contender:
    """One of our strategies, played by the game in the ball of that norm that holds every input."""

    def run(x: Tensor, y: Tensor) -> Tensor:
        whole = ball.whole(x.shape[1:])
        rng = torch.Generator().manual_seed(0)
        played = play_round(model, attack, x, y, whole, Access.GRADIENTS, Budget(), rng)
        if played.broke:
            raise SystemExit(f"{attack.name}: {played.broke}")
        return played.perturbed

    return run


def fab(module: nn.Module, norm: str, targets: int) -> Contender:
    """FAB-T of AutoAttack: 100 iterations towards each of the likeliest classes; the nearest of what they find."""

    def run(x: Tensor, y: Tensor) -> Tensor:
        attack = FABAttack_PT(module, norm=NAMES[norm], n_iter=100, targeted=True, device="cpu")
        best, least = x.clone(), torch.full((len(x),), torch.inf)
        for target in range(2, targets + 2):
            attack.target_class = target
            found = attack.attack_single_run(x.clone(), y.clone(), use_rand_start=False, is_targeted=True)
            with torch.no_grad():
                wrong = module(found).argmax(dim=1) != y
            length = BALLS[norm].length(found - x)
            nearer = wrong & (length < least)
            best[nearer], least[nearer] = found[nearer], length[nearer]
        return best

    return run


def with_foolbox(attack: foolbox.Attack, module: nn.Module) -> Contender:
    """A minimum-norm attack of foolbox."""
    wrapped = foolbox.PyTorchModel(module, bounds=(0, 1), device="cpu")

    def run(x: Tensor, y: Tensor) -> Tensor:
        _, clipped, _ = attack(wrapped, x, y, epsilons=None)
        found: Tensor = clipped.detach()
        return found

    return run


def contenders(model: TorchModel, module: Counted, norm: str) -> dict[str, Contender]:
    """Who is played in that norm, ours first."""
    ball, named = BALLS[norm], foolbox.attacks
    ways: dict[str, Contender] = {
        "ours: fmn": ours(FMN(nearest=True), model, ball),
    }
    if norm == "l0":
        ways["ours: sigma-zero"] = ours(SigmaZero(nearest=True), model, ball)
        ways["foolbox: FMN 100"] = with_foolbox(named.L0FMNAttack(steps=100), module)
        return ways
    if norm != "l1":
        ways["ours: deepfool"] = ours(DeepFool(), model, ball)
    ways["pyautoattack: FAB-T, 1 class"] = fab(module, norm, 1)
    ways["pyautoattack: FAB-T, 3 classes"] = fab(module, norm, 3)
    fmn = {"linf": named.LInfFMNAttack, "l2": named.L2FMNAttack, "l1": named.L1FMNAttack}[norm]
    ways["foolbox: FMN 100"] = with_foolbox(fmn(steps=100), module)
    if norm == "linf":
        ways["foolbox: DeepFool"] = with_foolbox(named.LinfDeepFoolAttack(candidates=10), module)
    if norm == "l2":
        ways["ours: carlini-wagner"] = ours(CarliniWagner(nearest=True), model, ball)
        ways["foolbox: DeepFool"] = with_foolbox(named.L2DeepFoolAttack(candidates=10), module)
        ways["foolbox: DDN 100"] = with_foolbox(named.DDNAttack(steps=100), module)
        carlini = named.L2CarliniWagnerAttack(binary_search_steps=9, steps=100, stepsize=0.05, initial_const=0.1)
        ways["foolbox: Carlini-Wagner 9x100"] = with_foolbox(carlini, module)
    return ways


def measure(run: Contender, model: TorchModel, module: Counted, norm: str, x: Tensor, y: Tensor) -> dict[str, Any]:
    """Distances as judged, robust accuracy at the radii, passes per image, seconds."""
    module.passes, begin = 0, time.perf_counter()
    found = run(x, y).clamp(0, 1)
    seconds, passes = time.perf_counter() - begin, module.passes / len(x)
    wrong = model.query(found).labels != y
    length = torch.where(wrong, BALLS[norm].length(found - x), torch.inf)
    return {
        "images": len(x),
        "found": int(wrong.sum()),
        "median": float(length.median()),
        "distances": [float(value) if value < torch.inf else None for value in length],
        "standing": {str(radius): int((length > radius * (1 + 1e-5)).sum()) for radius in RADII[norm]},
        "passes": passes,
        "seconds": seconds,
    }


def main() -> None:
    """Every model, norm and contender; what is measured already is kept, so the bench goes on where it was stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--models", nargs="+", default=["plain", "hardened"])
    parser.add_argument("--norms", nargs="+", default=list(BALLS), choices=list(BALLS))
    asked = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = read("minimum_norm") or []
    for norm in asked.norms:
        for which in asked.models:
            model, data = model_of(which), images(which, 1000)
            right = (model.query(data.x).labels == data.y).nonzero().squeeze(1)[: asked.images]
            x, y = data.x[right], data.y[right]
            module = Counted(model.module).eval()
            counted = TorchModel(module, model.face)
            for name, run in contenders(counted, module, norm).items():
                row = {"model": which, "norm": norm, "contender": name}
                if any(row.items() <= done.items() and done["images"] == len(x) for done in rows):
                    continue
                torch.manual_seed(0)
                row |= measure(run, model, module, norm, x, y)
                rows = [done for done in rows if any(done[key] != row[key] for key in ("model", "norm", "contender"))]
                rows.append(row)
                shown = {key: value for key, value in row.items() if key != "distances"}
                print("bench: minimum norm,", shown, flush=True)
                write("minimum_norm", rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
