"""Reading scikit-learn models in the skops format, which names every type before anything is built."""

import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from redoubt.models.extras import needs
from redoubt.models.files import sha256
from redoubt.models.locate import first_line
from redoubt.records import ModelError
from redoubt.supply.gate import OPEN, Gate

MAX_BYTES = 2 * 2**30
_DISTANCES = ("Chebyshev", "Euclidean", "Manhattan", "Minkowski")
ALLOWED = frozenset(
    {
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
        *(f"sklearn.metrics._dist_metrics.{name}Distance{bits}" for name in _DISTANCES for bits in (32, 64)),
    }
)
"""Types beyond those that skops trusts by itself: plain holders of arrays, whose links are checked after loading."""


def read_skops(path: Path, gate: Gate = OPEN) -> tuple[Any, str]:
    """The estimator, and the digest of its file.

    Raises:
        ModelError: the file is refused by the gate, has more than 2 GiB once unpacked, types outside the allow-list
            (named; nothing was built), or a tree whose links lead outside it.
    """
    with needs("sklearn"):
        import skops.io
    raw = gate.admit(path, "skops", MAX_BYTES)
    remedy = "save it with skops.io.dump(model, 'model.skops')"
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:  # the gate has seen that it is one
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MAX_BYTES:
        raise ModelError(f"{path.name} unpacks to more than {MAX_BYTES} bytes; nothing was executed", remedy=remedy)
    try:
        strangers = sorted(set(skops.io.get_untrusted_types(data=raw)) - ALLOWED)
    except Exception as error:  # the wall to skops, which raises whatever a damaged schema leads to
        raise ModelError(f"{path.name} cannot be read: {first_line(error)}", remedy=remedy) from error
    if strangers:
        raise ModelError(
            f"{path.name} holds types that are not trusted: {', '.join(strangers[:5])}; nothing was executed",
            remedy="save a model made of scikit-learn's own parts, or offer it as python:<module>:<callable>",
        )
    try:
        estimator = skops.io.loads(raw, trusted=sorted(ALLOWED))
    except Exception as error:  # the wall to skops and scikit-learn, which raise many kinds
        raise ModelError(f"{path.name} cannot be loaded: {first_line(error)}", remedy=remedy) from error
    try:
        for part, features in _parts(estimator):
            _check(part, features, path.name)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path.name} holds a damaged tree: {first_line(error)}", remedy=remedy) from error
    return estimator, sha256(raw)


def _parts(root: object) -> Iterator[tuple[Any, int]]:
    """Every object reachable from `root`, once each, with the number of features that its owners let through to it."""
    waiting: list[tuple[Any, int]] = [(root, sys.maxsize)]
    seen = set()
    while waiting:
        part, features = waiting.pop()
        if id(part) in seen or isinstance(part, str | bytes | int | float | np.generic | type(None)):
            continue
        seen.add(id(part))
        yield part, features
        own = getattr(part, "__dict__", {})
        # The last estimator of a stack reads the answers of the others, not the features.
        features = sys.maxsize if "final_estimator_" in own else min(features, own.get("n_features_in_", features))
        if isinstance(part, np.ndarray):
            inside = part.ravel().tolist() if part.dtype == object else []
        elif isinstance(part, list | tuple | set):
            inside = list(part)
        else:
            inside = list(part.values() if isinstance(part, dict) else own.values())
        waiting.extend((item, features) for item in inside)


def _check(part: Any, features: int, name: str) -> None:
    """Refuse trees whose compiled code would follow a link outside the tree, round in a circle, or to no feature.

    Neighbour trees are not read at all, but grown again from the points that they hold: the same tree.
    """
    kind = type(part).__name__
    if kind == "Tree":
        inner = part.children_left != -1
        left, right, feature = part.children_left[inner], part.children_right[inner], part.feature[inner]
        count, odd = part.node_count, False
    elif kind == "TreePredictor":
        inner = part.nodes["is_leaf"] == 0
        left, right = (part.nodes[side][inner].astype(np.int64) for side in ("left", "right"))
        feature, count = part.nodes["feature_idx"][inner], len(part.nodes)
        odd = bool(part.nodes["is_categorical"].any())
    else:
        if getattr(part, "_tree", None) is not None and hasattr(part, "_fit_X"):
            points = np.ascontiguousarray(part._fit_X, dtype=np.float64)
            part._tree = type(part._tree)(
                points, int(part.leaf_size), metric=str(part.effective_metric_), **part.effective_metric_params_
            )
        return
    own = np.flatnonzero(inner)
    links = all(bool(((own < side) & (side < count)).all()) for side in (left, right))
    if odd or not links or count == 0 or not bool(((feature >= 0) & (feature < features)).all()):
        raise ModelError(
            f"{name} holds a decision tree with links outside it, or with splits that are not numeric",
            remedy="train it on numeric features and save it again",
        )
