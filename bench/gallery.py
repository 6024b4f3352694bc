"""The gallery of broken defences: what their authors' evaluation says of them, and what the suite and the search do.

python bench/gallery.py [--images N] [--parts PART …] [NAME …]

Trains what is not there yet; the result of each defence is kept in `.bench/out/gallery/` as soon as it is found.
"""

import argparse

import torch

from gallery import store
from gallery.evaluate import PARTS, evaluate

IMAGES = 200

if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("names", nargs="*", default=store.NAMES, help="defences; all if none is named")
    options.add_argument("--images", type=int, default=IMAGES, help="test images")
    options.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="which evaluations")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    for name in chosen.names:
        evaluate(name, chosen.images, chosen.parts)
