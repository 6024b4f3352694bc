"""The strong models of the zoo under our standard suite and AutoAttack, on the same 1,000 test images.

python bench/strong.py [NAME ...]

Rotation and translation is played by the suite alone, whose first strategy is the exhaustive grid (angles 2 degrees
apart, shifts 1 pixel apart: 1,519 points an image): AutoAttack knows norm balls only.  Every run is kept by itself.
"""

import sys

import torch

from common import read, write
from redoubt.games import clopper_pearson
from redoubt.perturb import NormBall
from suite import ours, theirs
from zoo import STRONG, dataset, load, member

IMAGES = 1000


def clean(name: str) -> dict[str, float]:
    """Clean accuracy on all 10,000 test images."""
    model, data = load(name), dataset(member(name).data, "test")
    right = sum(
        int((model.query(x).labels == y).sum())
        for x, y in zip(torch.split(data.x, 1000), torch.split(data.y, 1000), strict=True)
    )
    found = clopper_pearson(right, len(data.y))
    return {"right": right, "of": len(data.y), "low": found.low, "high": found.high}


def main() -> None:
    """Every model asked for, with every suite that plays its set."""
    torch.set_num_threads(1)
    for name in sys.argv[1:] or STRONG:
        one = member(name)
        model, data = load(name), dataset(one.data, "test", IMAGES)
        right = model.query(data.x).labels == data.y
        x, y = data.x[right], data.y[right]
        if read(f"strong/{name}-clean") is None:
            write(f"strong/{name}-clean", clean(name))
        for who, run in (("redoubt", ours), ("autoattack", theirs)):
            kept = f"strong/{name}-{who}"
            if read(kept) is not None or (who == "autoattack" and not isinstance(one.within, NormBall)):
                continue
            found = run(model, x, y, one.within, 0) | {"images": len(data.y), "clean": len(y)}
            write(kept, found)
            last = found["stages"][-1]
            print(f"bench: {name} {who}: {last['standing'] / IMAGES:.1%} robust, {last['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
