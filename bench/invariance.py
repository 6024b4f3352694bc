"""How many MNIST images have a training image of another class in the ball that robustness is asked for in.

python bench/invariance.py [--images N]

Of the plain and the hardened model of the bench; the first N images of the balanced test sample.
"""

import argparse
import time
from typing import Any

from common import images, model_of, policy_of, write
from redoubt.data import load_data
from redoubt.games import clopper_pearson, find_invariance
from redoubt.perturb import L1Ball, L2Ball, LinfBall, NormBall

BALLS: tuple[NormBall, ...] = (
    LinfBall(0.3, 0, 1),
    LinfBall(0.4, 0, 1),
    L2Ball(2, 0, 1),
    L2Ball(4, 0, 1),
    L1Ball(10, 0, 1),
    L1Ball(40, 0, 1),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    args = parser.parse_args()
    file = policy_of("plain")
    source = file.policy.data.train
    if source is None:
        raise SystemExit("the bench's policy names no training data")
    models = {name: model_of(name) for name in ("plain", "hardened")}
    train = load_data(source, models["plain"].face, file.base, lambda *keys: file.place("data", "train", *keys))
    test = images("plain", args.images)
    found: list[dict[str, Any]] = []
    for ball in BALLS:
        line: dict[str, Any] = {"ball": str(ball), "kept": {}}
        for name, model in models.items():
            began = time.perf_counter()
            seen = find_invariance(model, test.x, test.y, train.x, train.y, ball)
            line["seconds"] = time.perf_counter() - began
            interval = clopper_pearson(int(seen.inside.sum()), len(test))
            line |= {
                "reachable": int(seen.inside.sum()),
                "interval": [interval.low, interval.high],
                "nearest": float(seen.distance.min()),
            }
            line["kept"][name] = int(seen.kept.sum())
        found.append(line)
        print(line, flush=True)
    write("invariance", {"images": len(test), "training": len(train), "balls": found})


if __name__ == "__main__":
    main()
