"""The strong models of the zoo under our standard suite and AutoAttack, on the same 1,000 test images.

python bench/strong.py [--images N] [--reference-images N] [NAME ...]

Rotation and translation is played by the suite alone, whose first strategy is the exhaustive grid (angles 2 degrees
apart, shifts 1 pixel apart: 1,519 points an image): AutoAttack knows norm balls only.  Every run is kept by itself.
"""

import argparse

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
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", default=list(STRONG))
    parser.add_argument("--images", type=int, default=IMAGES, help="our suite gets the first so many")
    parser.add_argument("--reference-images", type=int, default=IMAGES, help="AutoAttack gets the first so many")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name in asked.models:
        one = member(name)
        model, data = load(name), dataset(one.data, "test", IMAGES)
        if read(f"strong/{name}-clean") is None:
            write(f"strong/{name}-clean", clean(name))
        for who, run, images in (("redoubt", ours, asked.images), ("autoattack", theirs, asked.reference_images)):
            kept = f"strong/{name}-{who}"
            if read(kept) is not None or (who == "autoattack" and not isinstance(one.within, NormBall)):
                continue
            x, y = data.x[:images], data.y[:images]
            right = model.query(x).labels == y
            found = run(model, x[right], y[right], one.within, 0) | {"images": images, "clean": int(right.sum())}
            write(kept, found)
            last = found["stages"][-1]
            print(f"bench: {name} {who}: {last['standing'] / images:.1%} robust, {last['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
