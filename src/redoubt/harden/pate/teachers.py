"""Teachers: each learns from records that no other sees, and says what it takes the public inputs for."""

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from redoubt.records import DataError, Place, StorageError, digest

Teach = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Learns from features `[n, D]` and labels `[n]`, and gives labels of public features `[Q, D]`, int64 `[Q]`."""


def partition(records: int, teachers: int, generator: Generator) -> tuple[Tensor, ...]:
    """Rows for each teacher, int64, disjoint, as many as can be and as even as can be.

    Which teacher a record goes to depends on its row and on the generator only, never on what it holds or on other
    records: with one record less, one teacher has one record less.

    Raises:
        DataError: there are fewer records than teachers, or fewer than two teachers.
    """
    if not 2 <= teachers <= records:
        raise DataError(f"{teachers} teachers of {records} records", remedy="take two teachers, or more records")
    order = torch.randperm(records, generator=generator)
    return tuple(part.sort().values for part in order.tensor_split(teachers))


@dataclass(frozen=True)
class Ridge:
    """Least squares against one-hot labels, in closed form through the Gram matrix of the teacher's few records.

    Attributes:
        classes: K.
        ridge: the penalty, in units of the mean square of a feature vector.
    """

    classes: int
    ridge: float = 0.01

    def __call__(self, x: Tensor, y: Tensor, public: Tensor) -> Tensor:
        """See `Teach`."""
        goal = torch.eye(self.classes)[y] - 1 / self.classes
        gram = x @ x.T
        gram.diagonal().add_(self.ridge * float(gram.diagonal().mean()) + 1e-12)
        weight = x.T @ torch.linalg.solve(gram, goal)
        said: Tensor = (public @ weight).argmax(1)
        return said


def cast_votes(
    parts: tuple[Tensor, ...],
    x: Tensor,
    y: Tensor,
    public: Tensor,
    teach: Teach,
    classes: int,
    folder: Path,
    of: str,
    workers: int = 1,
    heard: Callable[[int], None] | None = None,
) -> Tensor:
    """What each teacher takes each public input for: int64 `[teachers, Q]`.

    A teacher's answers are kept in a file of their own, so that a run that was killed goes on where it was.  Those
    files are as private as the records: they are what the noise is there to hide.

    Args:
        parts: see `partition`.
        x: features `[N, ...]`.
        y: int64 `[N]`.
        public: `[Q, ...]`.
        teach: how a teacher learns; the same for all.
        classes: K, at most 256.
        folder: for the files; made if it is missing.
        of: what `x`, `y`, `public` and `teach` are: other words are other files.
        workers: teachers at once, in threads.
        heard: told the number of teachers that are done.

    Raises:
        DataError: parts overlap, an answer is no class, or a file is not what was written.
        StorageError: the folder cannot be written to.
    """
    rows = torch.cat(parts)
    if bool((rows.sort().values.diff() == 0).any()):
        raise DataError("two teachers share a record", remedy="partition the records: the guarantee hangs on it")
    flat, seen = x.flatten(1), public.flatten(1)
    folder.mkdir(parents=True, exist_ok=True)
    done = 0

    def vote(part: Tensor) -> Tensor:
        nonlocal done
        key = digest([of, digest(part.numpy().tobytes())]).removeprefix("sha256:")[:32]
        path = folder / f"{key}.npy"
        if not path.exists():
            said = teach(flat[part], y[part], seen)
            if said.shape != (len(seen),) or int(said.min()) < 0 or int(said.max()) >= classes:
                raise DataError("a teacher's answers are no classes", remedy="return one label for each public input")
            _keep(path, said.to(torch.uint8).numpy())
        done += 1
        if heard is not None:
            heard(done)
        return _kept(path, len(seen), classes)

    with ThreadPoolExecutor(workers) as pool:
        return torch.stack(list(pool.map(vote, parts)))


def _keep(path: Path, votes: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> None:
    """Under another name first, so that half a file is never taken for a whole one."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix=".npy")
        with os.fdopen(handle, "wb") as file:
            np.save(file, votes, allow_pickle=False)
        Path(name).replace(path)
    except OSError as error:
        raise StorageError(
            f"cannot write votes: {error.strerror or error}", Place(str(path)), remedy="free some space"
        ) from error


def _kept(path: Path, inputs: int, classes: int) -> Tensor:
    try:
        votes = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"is no file of votes: {error}", Place(str(path)), remedy="delete it") from error
    if votes.dtype != np.uint8 or votes.shape != (inputs,) or votes.max(initial=0) >= classes:
        raise DataError("holds other votes than these", Place(str(path)), remedy="delete it")
    return torch.from_numpy(votes).long()
