"""What the steps of the bench share: where things lie, the two models, the images, and results as JSON."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redoubt.data import Dataset, load_data
from redoubt.models import TorchModel
from redoubt.policy import PolicyFile, read_policy

HOME = Path(__file__).resolve().parent.parent / ".bench"
MNIST = HOME / "mnist"
OUT = HOME / "out"
FIGURES = Path(__file__).resolve().parent / "figures"  # what the page was made of, kept with it
POLICIES = {"plain": MNIST / "mnist.yaml", "hardened": MNIST / "mnist.hardened.yaml"}


def policy_of(which: str) -> PolicyFile:
    """The policy of the `plain` or the `hardened` model."""
    return read_policy(POLICIES[which])


def model_of(which: str) -> TorchModel:
    """The `plain` or the `hardened` model, as `redoubt assess` loads it."""
    file = policy_of(which)
    return TorchModel.from_source(file.policy.model, file.base, lambda *keys: file.place("model", *keys))


def images(which: str = "plain", take: int | None = None) -> Dataset:
    """The test images of the policy; `take` of them if given."""
    file = policy_of(which)
    source = file.policy.data.test if take is None else file.policy.data.test.model_copy(update={"take": take})
    return load_data(source, model_of(which).face, file.base, lambda *keys: file.place("data", "test", *keys))


def write(name: str, result: Any) -> None:
    """Keep a step's result for `results.py`; written whole or not at all."""
    part = OUT / f"{name}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(json.dumps(result, indent=1) + "\n")
    part.rename(OUT / f"{name}.json")


def read(name: str) -> Any:
    """A step's result, or None if it is not there."""
    path = OUT / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def told(name: str) -> Any:
    """A result for the page: what was measured here, else what the page as it stands was made of, else None."""
    kept = FIGURES / f"{name}.json"
    return read(name) or (json.loads(kept.read_text()) if kept.exists() else None)


def names(pattern: str) -> list[str]:
    """The results, measured here or kept, whose names match a glob; in order."""
    found = {path.relative_to(place) for place in (OUT, FIGURES) for path in place.glob(f"{pattern}.json")}
    return sorted(str(path.with_suffix("")) for path in found)


def keep() -> None:
    """Put what was measured here beside the page, so that a part of it can be measured again and rendered alone."""
    for path in OUT.rglob("*.json"):
        copy = FIGURES / path.relative_to(OUT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
