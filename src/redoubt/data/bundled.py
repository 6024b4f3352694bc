"""The small real sets that come with scikit-learn, cut into a fixed training and test part."""

import numpy as np

from redoubt.data.raw import Raw, in_file
from redoubt.records import DataError, Place

SETS = ("breast_cancer", "digits", "iris", "wine")
_NATIVE = {"digits": (0.0, 16.0)}
_TEST_SHARE = 0.3


def read_bundled(name: str, part: str) -> Raw:
    """One part, `train` or `test`, of a bundled set: of each class the same 30 % are for testing, every time.

    `digits` are images `[N, 8, 8]` with values 0..16; the others are tables in their own units.

    Raises:
        DataError: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise DataError(
            f"the set '{name}' comes with scikit-learn, which is not installed",
            remedy="pip install 'redoubt[sklearn]'",
        ) from error
    loaded = getattr(datasets, f"load_{name}")()
    x, y = (loaded.images if name == "digits" else loaded.data), loaded.target
    keys = np.random.Generator(np.random.PCG64(0)).random(len(y))
    test = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        test[rows[np.argsort(keys[rows])[: round(_TEST_SHARE * len(rows))]]] = True
    picked = test if part == "test" else ~test
    return in_file(x[picked], y[picked], _NATIVE.get(name), Place(f"sklearn:{name}/{part}"))
