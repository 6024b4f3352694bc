"""Whether cheaper passes pay on a CPU and change no answer: other memory layout, `torch.compile`, bfloat16.

python bench/cheaper.py [--images N]

Our PGD-40 and APGD-CE are played against a copy of the model that computes in another way; the points they find are
judged by the model itself, in float32.  A way pays if it takes less time, compilation included, and leaves the same
examples standing.
"""

import argparse
import copy
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from common import images, model_of, write
from redoubt.attacks.evasion import APGD, PGD
from redoubt.games import play_round
from redoubt.models import TorchModel
from redoubt.models.base import Differentiable
from redoubt.perturb import LinfBall
from redoubt.records import Access, Budget

BATCH = 250


class Variant(Differentiable):
    """A model that computes its logits in another way; for attacking, never for judging."""

    def __init__(self, model: TorchModel, logits: Callable[[Tensor], Tensor]) -> None:
        super().__init__(model.face)
        self._digest = model.digest()
        self._logits = logits

    def logits(self, x: Tensor) -> Tensor:
        """Logits `[B, K]`."""
        return self._logits(x)

    def digest(self) -> str:
        """That of the model it computes."""
        return self._digest


def ways(module: nn.Module) -> dict[str, Callable[[Tensor], Tensor]]:
    """The ways to compute the module's logits."""
    last = copy.deepcopy(module).to(memory_format=torch.channels_last)
    compiled, compiled_half = (torch.compile(copy.deepcopy(module), dynamic=True) for _ in range(2))

    def half(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def run(x: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = network(x)
            return logits.float()

        return run

    def without_mkldnn(x: Tensor) -> Tensor:
        with torch.backends.mkldnn.flags(enabled=False):
            logits: Tensor = module(x)
        return logits

    return {
        "eager float32": module,
        "channels last": lambda x: last(x.contiguous(memory_format=torch.channels_last)),
        "without oneDNN": without_mkldnn,
        "torch.compile": compiled,
        "bfloat16": half(module),
        "torch.compile, bfloat16": half(compiled_half),
    }


def main() -> None:
    """Both models, both attacks, every way."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int)
    asked = parser.parse_args()
    results: list[dict[str, Any]] = []
    for which, radius in (("hardened", 0.3), ("plain", 0.1)):
        model, data = model_of(which), images(which, asked.images)
        right = model.query(data.x).labels == data.y
        x, y, within = data.x[right], data.y[right], LinfBall(radius, 0.0, 1.0)
        plain: dict[str, Tensor] = {}
        for way, logits in ways(model.module).items():
            variant = Variant(model, logits)
            for attack in (PGD(), APGD("ce")):
                seconds: list[float] = []
                for _ in range(2):  # the first time compiles
                    begin = time.perf_counter()
                    rounds = [
                        play_round(
                            variant, attack, a, b, within, Access.GRADIENTS, Budget(), torch.Generator().manual_seed(0)
                        )
                        for a, b in zip(x.split(BATCH), y.split(BATCH), strict=True)
                    ]
                    seconds.append(time.perf_counter() - begin)
                if broken := next((played.broke for played in rounds if played.broke), None):
                    raise SystemExit(f"{way}: {broken}")
                stands = torch.cat([model.query(played.perturbed).labels for played in rounds]) == y
                before = plain.setdefault(attack.name, stands)
                row = {
                    "model": which,
                    "radius": radius,
                    "attack": attack.name,
                    "way": way,
                    "first_seconds": seconds[0],
                    "seconds": seconds[1],
                    "images": len(data.y),
                    "standing": int(stands.sum()),
                    "changed": int((stands != before).sum()),
                }
                print("bench: cheaper passes,", row, flush=True)
                results.append(row)
    write("cheaper", results)


if __name__ == "__main__":
    main()
