"""An evidence folder, read back as untrusted input: bounded, validated, never unpickled."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, ValidationError
from safetensors import SafetensorError, safe_open

from redoubt.records import (
    EvasionEvidence,
    Evidence,
    ExampleResult,
    Hardening,
    OtherClass,
    Place,
    StorageError,
)
from redoubt.records.base import Record

EVIDENCE, EXAMPLES, POLICY, TIMINGS = "evidence.json", "examples.safetensors", "policy.yaml", "timings.json"
HARDENED, GAINS = "hardened.json", "gains.safetensors"
_LIMITS = {
    EVIDENCE: 256 << 20,
    EXAMPLES: 2 << 30,
    POLICY: 1 << 20,
    TIMINGS: 16 << 20,
    HARDENED: 16 << 20,
    GAINS: 256 << 20,
}
_MAX_COORDINATES = 1 << 24  # of one input; larger ones are not shown
_AGAIN = "run the command that wrote it again, into the same folder"

Floats = NDArray[np.float32]
R = TypeVar("R", bound=Record)


def _to_utc(time: datetime) -> datetime:
    if time.year < 1970:
        raise ValueError(f"no assessment ran in the year {time.year}")
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


class Timings(Record):
    """Where and when the assessment ran.  It lies outside the evidence, which holds no time."""

    machine: Annotated[str, Field(max_length=1000)]
    started: Annotated[datetime, AfterValidator(_to_utc)]
    seconds: dict[str, dict[str, Annotated[float, Field(ge=0)]]] = Field(
        description="Requirement id to strategy to seconds."
    )

    def of(self, requirement: str) -> float:
        """Seconds spent on one requirement."""
        return sum(self.seconds.get(requirement, {}).values())


@dataclass(frozen=True)
class Pair:
    """One counterexample: the input as it was and as it was made, float32 `[*shape]` in the input range."""

    result: ExampleResult
    clean: Floats
    perturbed: Floats


@dataclass(frozen=True)
class Neighbours:
    """A test example, and a training input of another class in the ball around it, float32 `[*shape]` each."""

    result: OtherClass
    within: str
    example: Floats
    training: Floats


@dataclass(frozen=True)
class Folder:
    """An evidence folder in memory; of the examples, those that a report shows, per requirement id."""

    evidence: Evidence
    policy: str
    timings: Timings | None
    pairs: dict[str, tuple[Pair, ...]]
    others: dict[str, tuple[Neighbours, ...]]
    shown: dict[str, Floats] = field(default_factory=dict)  # inputs that a game shows as they are, by their key


def read_folder(path: Path, shown: int = 8) -> Folder:
    """Read what `assess` left in `path`.

    Args:
        path: the evidence folder.
        shown: how many counterexamples to load for each requirement.

    Raises:
        StorageError: a file is missing, too large, or not what it should be; the message names it.
    """
    evidence = read_evidence(path)
    moved = [r for r in evidence.requirements if isinstance(r, EvasionEvidence)]
    chosen = {r.id: _varied(r.examples, shown) for r in moved}
    checks = [(r.id, check.within, one) for r in moved for check in r.invariance for one in check.shown]
    named = [key for r in evidence.requirements for key in r.shown]
    keys = [e.tensor or "" for examples in chosen.values() for e in examples] + [one.tensor for _, _, one in checks]
    small = math.prod(evidence.input_shape) <= _MAX_COORDINATES
    drawn = _tensors(path / EXAMPLES, evidence, keys) if keys and small else {}
    whole = _tensors(path / EXAMPLES, evidence, named, ("clean",)) if named and small else {}
    return Folder(
        evidence=evidence,
        policy=_text(path / POLICY),
        timings=_record(path / TIMINGS, Timings) if (path / TIMINGS).exists() else None,
        pairs={
            name: tuple(Pair(e, drawn[e.tensor][0], drawn[e.tensor][1]) for e in examples if e.tensor in drawn)
            for name, examples in chosen.items()
        },
        others={
            name: tuple(
                Neighbours(one, within, drawn[one.tensor][0], drawn[one.tensor][1])
                for owner, within, one in checks
                if owner == name and one.tensor in drawn
            )
            for name in chosen
        },
        shown={key: tensors[0] for key, tensors in whole.items()},
    )


@dataclass(frozen=True)
class Gains:
    """What robustness looks like, for a few inputs; before is the plain model, after the hardened one.

    Attributes:
        x: the inputs, float32 `[N, *shape]` in the input range.
        gradient: the loss's gradients with respect to them, before and after, `[N, *shape]`.
        surface: the loss on a square through each, before and after, `[N, G, G]`: one step along the steepest way to
            the set's edge to the right and the left, along a random one up and down.
    """

    x: Floats
    gradient: tuple[Floats, Floats]
    surface: tuple[Floats, Floats]


def read_hardening(path: Path) -> tuple[Hardening, Gains | None]:
    """Read what `harden` left in `path`; without pictures where there are none.

    Raises:
        StorageError: a file is missing, too large, or not what it should be; the message names it.
    """
    hardening = _record(path / HARDENED, Hardening)
    if not hardening.curve:
        raise StorageError("has no epoch in its curve", Place(str(path / HARDENED)), remedy=_AGAIN)
    return hardening, _gains(path / GAINS) if (path / GAINS).exists() else None


def _gains(path: Path) -> Gains:
    _check_size(path)
    with _wall(path), safe_open(path, framework="numpy") as file:
        found: dict[str, Floats] = {}
        names = ("x", "gradient/before", "gradient/after", "surface/before", "surface/after")
        for name in names:
            if name not in file.keys():  # noqa: SIM118
                raise StorageError(f"holds no tensor {name!r}", Place(str(path)), remedy=_AGAIN)
            array = file.get_tensor(name)
            like = found["x"].shape if name.startswith("gradient") else (len(found.get("x", array)), *array.shape[1:])
            square = not name.startswith("surface") or (array.ndim == 3 and array.shape[1] == array.shape[2] > 1)
            if array.dtype != np.float32 or array.shape != like or not square or not np.isfinite(array).all():
                raise StorageError(f"tensor {name!r} is not what it should be", Place(str(path)), remedy=_AGAIN)
            found[name] = array
        x, *rest = (found[name] for name in names)
        return Gains(x, (rest[0], rest[1]), (rest[2], rest[3]))


def _check_sense(evidence: Evidence, where: Place) -> None:
    """Refuse what the records allow but no assessment writes, and the drawings could not bear."""
    low, high = evidence.input_range
    if not math.isfinite(high - low):
        raise StorageError(f"input_range is [{low:g}, {high:g}]", where, remedy=_AGAIN)
    seen: set[str] = set()
    for requirement in evidence.requirements:
        if requirement.id in seen:
            raise StorageError(f"requirement {requirement.id!r} stands there twice", where, remedy=_AGAIN)
        seen.add(requirement.id)
        for point in requirement.curve if isinstance(requirement, EvasionEvidence) else ():
            if not 1e-6 <= point.scale <= 1e6:
                raise StorageError(f"{requirement.id}: curve has a scale of {point.scale:g}", where, remedy=_AGAIN)


def read_evidence(path: Path) -> Evidence:
    """The evidence alone.

    Args:
        path: the evidence folder.

    Raises:
        StorageError: `evidence.json` is missing, too large, or not what it should be.
    """
    evidence = _record(path / EVIDENCE, Evidence)
    _check_sense(evidence, Place(str(path / EVIDENCE)))
    return evidence


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _wall(path: Path) -> Iterator[None]:
    """Turn what the disk and the parsers say of `path` into a StorageError that names it."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror or error}", Place(str(path)), remedy=_AGAIN) from error
    except (UnicodeDecodeError, SafetensorError) as error:
        raise StorageError(f"is damaged: {error}", Place(str(path)), remedy=_AGAIN) from error


def _check_size(path: Path) -> None:
    limit = _LIMITS[path.name]
    with _wall(path):
        if not path.is_file():
            what = "is not a file" if path.exists() else "is missing"
            raise StorageError(what, Place(str(path)), remedy="give the folder that `redoubt assess` wrote")
        if path.stat().st_size > limit:
            raise StorageError(f"is larger than {limit >> 20} MiB: not believed", Place(str(path)), remedy=_AGAIN)


def _text(path: Path) -> str:
    _check_size(path)
    with _wall(path):
        return path.read_text("utf-8")


def _integer(digits: str) -> int:
    """Integers as canonical JSON allows them; larger ones would overflow the arithmetic on them."""
    if len(digits) > 16 or abs(int(digits)) >= 2**53:
        raise ValueError(f"{digits[:20]}… is no count")
    return int(digits)


def _record(path: Path, kind: type[R]) -> R:
    text = _text(path)
    try:
        json.loads(text, parse_int=_integer)
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        loc = first["loc"]
        named = loc[:2] + loc[3:] if loc[:1] == ("requirements",) else loc  # without the game, which is no key
        key = ".".join(str(part) for part in named)
        what = f"is not {kind.__name__.lower()} as Redoubt writes it: {key + ': ' if key else ''}{first['msg']}"
    except (ValueError, RecursionError) as error:
        what = f"is not JSON as Redoubt writes it: {error}"
    raise StorageError(what, Place(str(path)), remedy=_AGAIN)


# ── examples ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _varied(examples: tuple[ExampleResult, ...], shown: int) -> list[ExampleResult]:
    """Up to `shown` counterexamples with a picture, the labels taking turns, in the order of the data."""
    seen: Counter[int] = Counter()
    turns: list[tuple[int, ExampleResult]] = []
    for example in examples:
        if example.tensor is not None and example.perturbed is not None:
            turns.append((seen[example.label], example))
            seen[example.label] += 1
    turns.sort(key=lambda turn: turn[0])
    return sorted((example for _, example in turns[:shown]), key=lambda example: example.row)


def _tensors(
    path: Path, evidence: Evidence, wanted: list[str], parts: tuple[str, ...] = ("clean", "perturbed")
) -> dict[str, tuple[Floats, ...]]:
    """For each key the clean input, and what stands beside it."""
    _check_size(path)
    with _wall(path), safe_open(path, framework="numpy") as file:
        keys = set(file.keys())

        def tensor(key: str) -> Floats:
            if key not in keys:
                raise StorageError(
                    f"holds no tensor {key!r}, which the evidence names", Place(str(path)), remedy=_AGAIN
                )
            view = file.get_slice(key)
            if tuple(view.get_shape()) != evidence.input_shape or view.get_dtype() != "F32":
                shape = f"{view.get_dtype()} {view.get_shape()}"
                raise StorageError(
                    f"tensor {key!r} is {shape}; expected F32 {list(evidence.input_shape)}",
                    Place(str(path)),
                    remedy=_AGAIN,
                )
            array: Floats = file.get_tensor(key)
            if not np.isfinite(array).all():
                raise StorageError(f"tensor {key!r} holds NaN or infinity", Place(str(path)), remedy=_AGAIN)
            return array

        return {key: tuple(tensor(f"{key}/{part}") for part in parts) for key in wanted}
