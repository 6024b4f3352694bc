"""HDF5 files, as Keras writes models and weights: looked through with h5py, without reading a single array.

An HDF5 file can lead its reader to other files (external links, external storage, virtual data sets) and to plug-in
libraries (filters).  None of them is followed: links are asked for their kind, data sets for how they are stored, and
for how much more than that they claim to be: what was never written takes no room in the file, and all of it in memory.

Not covered: faults of the HDF5 library itself, which parses the file's structure here.
"""

import io
from collections.abc import Iterator
from typing import Any

from redoubt.supply.archives.zips import FREE_INFLATED, MOST_RATIO
from redoubt.supply.findings import Kind
from redoubt.supply.flaw import Damaged, Flaw, shown
from redoubt.supply.tensors.safetensors import json_once

MAGIC = b"\x89HDF\r\n\x1a\n"
_FILTERS = frozenset({1, 2, 3, 5, 6})  # deflate, shuffle, checksum, n-bit, scale-offset: part of the library itself
_MOST_OBJECTS = 200_000
_MOST_TEXT = 64 * 2**20
_REMEDY = "ask for the model in one file of its own, as .keras or ONNX"


def hdf5_flaws(raw: bytes) -> Iterator[Flaw]:
    """What speaks against the file.

    Raises:
        Damaged: it is no HDF5 file, or beyond the bounds.
    """
    try:
        import h5py
    except ImportError:
        yield Flaw(
            Kind.NEEDS, "", "is an HDF5 file, and h5py is not installed to look into it", "pip install 'redoubt[keras]'"
        )
        return
    try:
        with h5py.File(io.BytesIO(raw), "r") as file:
            yield from _attributes(file)
            yield from _objects(h5py, file)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:  # as h5py says that a file is damaged
        raise Damaged("", f"is no sound HDF5 file: {shown(error)}") from None


def _attributes(file: Any) -> Iterator[Flaw]:
    """Keras keeps a model's configuration, and how it was trained, as attributes of the file."""
    from redoubt.supply.archives.keras import config_flaws

    for name in ("model_config", "training_config"):
        if name not in file.attrs:
            continue
        if file.attrs.get_id(name).get_storage_size() > _MOST_TEXT:
            raise Damaged(name, f"has more than {_MOST_TEXT} bytes", Kind.BOMB)
        text = file.attrs[name]
        if not isinstance(text, str | bytes):
            raise Damaged(name, "is no text")
        yield from config_flaws(json_once(text.encode() if isinstance(text, str) else text, name), name)


def _objects(h5py: Any, file: Any) -> Iterator[Flaw]:
    waiting, seen, looked = [("", file)], set(), 0
    while waiting:
        at, group = waiting.pop()
        for name in group:
            looked += 1
            if looked > _MOST_OBJECTS:
                raise Damaged("", f"has more than {_MOST_OBJECTS} objects", Kind.BOMB)
            here, link = f"{at}/{name}", group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                yield Flaw(
                    Kind.LEADS_OUTSIDE,
                    shown(here),
                    f"is a link to '{shown(link.path)}' in file '{shown(link.filename)}'",
                    _REMEDY,
                )
            if not isinstance(link, h5py.HardLink):
                continue  # soft links lead to what is looked at under its own name
            found = group[name]
            mark = h5py.h5o.get_info(found.id).addr
            if mark in seen:
                continue
            seen.add(mark)
            if isinstance(found, h5py.Group):
                waiting.append((here, found))
            elif isinstance(found, h5py.Dataset):
                yield from _dataset(found, shown(here))


def _dataset(found: Any, here: str) -> Iterator[Flaw]:
    if found.external or found.is_virtual:
        yield Flaw(Kind.LEADS_OUTSIDE, here, "keeps its data in other files", _REMEDY)
    whole, stored = found.size * found.dtype.itemsize if found.shape is not None else 0, found.id.get_storage_size()
    if whole > FREE_INFLATED + MOST_RATIO * stored:
        yield Flaw(Kind.BOMB, here, f"is an array of {whole} bytes, and {stored} of them are in the file", _REMEDY)
    plist = found.id.get_create_plist()
    filters = {plist.get_filter(i)[0] for i in range(plist.get_nfilters())}
    if filters - _FILTERS:
        yield Flaw(
            Kind.CUSTOM_OPERATOR, here, f"is packed by filter {min(filters - _FILTERS)}, which loads a library", _REMEDY
        )
