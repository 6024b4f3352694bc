"""From a policy's data source to labelled data."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from redoubt.data.base import Dataset
from redoubt.data.bundled import SETS, read_bundled
from redoubt.data.fit import fit
from redoubt.data.idx import read_idx
from redoubt.data.images import read_images
from redoubt.data.npz import read_npz
from redoubt.data.raw import Raw
from redoubt.data.tables import read_csv
from redoubt.data.take import balanced_rows
from redoubt.data.text import read_text
from redoubt.models.base import Face
from redoubt.models.locate import Locate
from redoubt.records import DataError, DataSource, PolicyError

_FORMS = (
    "idx:<folder>/<train|test>, npz:<file>, csv:<file>, images:<folder>, text:<file> or sklearn:<name>/<train|test>"
)
_PARTS = ("train", "test")


def load_data(
    source: DataSource, face: Face, base: Path, locate: Locate, encode: Callable[[str], Tensor] | None = None
) -> Dataset:
    """Load labelled data and fit them to a model's face.

    Relative paths start at `base`; what is not there is looked for in the folder that the environment variable
    `REDOUBT_DATA` names, which is read here.

    Args:
        source: as the policy names it.
        face: shape, range and number of classes of the model.
        base: the policy's folder.
        locate: `locate("source")` and `locate("take")` give places in the policy.
        encode: text to token numbers, of a language model.

    Returns:
        Inputs in the face's range, labels in 0..K-1, and a digest over both as taken.

    Raises:
        PolicyError: the source is of no known form.
        DataError: the data cannot be read, are empty, do not fit the face, or are fewer than `take`.  Faults within a
            file carry the file's place, and say where the policy names it.
    """
    try:
        raw = _read(source.source, face, base, locate, encode)
        x, y = fit(raw, face)
    except DataError as error:
        named = locate("source")
        if named is None or error.where == named:
            raise
        if error.where is None:
            raise DataError(error.what, named, remedy=error.remedy) from error
        raise DataError(f"{error.what} (data named at {named})", error.where, remedy=error.remedy) from error
    if source.take is not None:
        if source.take > len(y):
            raise DataError(
                f"take: {source.take}, but {source.source} has {len(y)} examples",
                locate("take"),
                remedy=f"write take: {len(y)} or less, or leave it out",
            )
        rows = torch.from_numpy(balanced_rows(y.numpy(), source.take, source.seed))
        x, y = x[rows], y[rows]
    return Dataset(x, y, source.source, digest_of(x, y))


def digest_of(x: Tensor, y: Tensor) -> str:
    """`sha256:<hex>` over shape, little-endian float32 inputs and little-endian int64 labels."""
    state = hashlib.sha256(f"{list(x.shape)} float32, int64\n".encode())
    state.update(x.contiguous().numpy().astype("<f4", copy=False).tobytes())
    state.update(y.contiguous().numpy().astype("<i8", copy=False).tobytes())
    return f"sha256:{state.hexdigest()}"


def _read(source: str, face: Face, base: Path, locate: Locate, encode: Callable[[str], Tensor] | None) -> Raw:
    scheme, _, rest = source.partition(":")
    head, _, part = rest.rpartition("/")
    match scheme:
        case "idx" if head and part in _PARTS:
            return read_idx(_found(head, base), part)
        case "sklearn" if head in SETS and part in _PARTS:
            return read_bundled(head, part)
        case "npz" if rest:
            return read_npz(_found(rest, base))
        case "csv" if rest:
            return read_csv(_found(rest, base), face.labels)
        case "images" if rest:
            return read_images(_found(rest, base), face)
        case "text" if rest:
            if encode is None:
                raise DataError("text is for language models", remedy="give data that this model takes")
            return read_text(_found(rest, base), face, encode)
    raise PolicyError(
        f"unknown data source '{source}'",
        locate("source"),
        remedy=f"write {_FORMS}; scikit-learn's sets are {', '.join(SETS)}",
    )


def _found(name: str, base: Path) -> Path:
    """The file or folder of that name.

    Raises:
        DataError: it is nowhere; the message names the places that were tried.
    """
    shared = os.environ.get("REDOUBT_DATA")
    places = [base / name] + ([Path(shared) / name] if shared else [])
    for place in places:
        if place.exists():
            return place
    tried = " or ".join(str(place) for place in places)
    raise DataError(f"there is no {tried}", remedy="correct the path, or set REDOUBT_DATA to the folder of the data")
