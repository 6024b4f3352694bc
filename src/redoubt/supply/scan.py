"""Looks through a file, or a folder and all that is in it."""

from collections.abc import Iterator
from pathlib import Path

from redoubt.records import ModelError
from redoubt.supply.artefact import MOST_BYTES, files_below, read_once
from redoubt.supply.findings import Finding, Judgement, Kind
from redoubt.supply.flaw import shown
from redoubt.supply.graphs.onnx import Sizes, externals_of
from redoubt.supply.judge import judge

_NUMBERS = frozenset({Kind.UNKNOWN_FORMAT, Kind.DAMAGED})
"""What is found of a file of bare numbers.  A program among them is no number, whichever model names it as a part."""


def scan(path: Path, most: int = MOST_BYTES) -> Iterator[Judgement]:
    """Judge the file at `path`, or every file below it, in the order of their names.

    Symbolic links inside a folder are not followed, but are findings: what they lead to is not part of the folder.
    Files of tensors beside an ONNX model are part of it, if the model says so and all speaks for it.

    Raises:
        ModelError: there is nothing at `path`, or more than 100,000 files.
    """
    if not path.is_dir():
        yield judge(path.name, read_once(path, most), sizes_beside(path))
        return
    judged: list[Judgement] = []
    parts: set[str] = set()
    for file, name in sorted(files_below(path), key=lambda pair: pair[1]):
        one, beside = _judge(file, name, most)
        parts |= beside
        judged.append(one)
    for one in judged:
        part = one.file in parts and all(f.kind in _NUMBERS for f in one.findings)
        yield one.model_copy(update={"findings": (), "format": "tensors of an ONNX model"}) if part else one


def sizes_beside(path: Path) -> Sizes:
    """Sizes of plain files in the folder of `path`, or below it; no link on the way is followed."""
    folder = path.absolute().parent

    def size(name: str) -> int | None:
        file = folder
        try:
            for part in Path(name).parts:
                file = file / part
                if file.is_symlink():
                    return None
            return file.stat().st_size if file.is_file() else None
        except OSError:
            return None

    return size


def _judge(file: Path, name: str, most: int) -> tuple[Judgement, set[str]]:
    """What is said of a file, and the names of those that the same bytes make a part of it."""
    if file.is_symlink():
        target = shown(file.readlink())
        finding = Finding(
            kind=Kind.LEADS_OUTSIDE,
            place="",
            what=f"is a symbolic link to '{target}', which is not part of the folder",
            remedy="put a copy in its place, if what it leads to is what you expect",
        )
        return Judgement(file=name, format="a symbolic link", size=0, digest="", findings=(finding,)), set()
    try:
        raw = read_once(file, most, follow_links=False)
    except ModelError as error:
        finding = Finding(kind=Kind.UNKNOWN_FORMAT, place="", what=error.what, remedy=error.remedy or "look at it")
        return Judgement(file=name, format="a file that cannot be read", size=0, digest="", findings=(finding,)), set()
    one, folder = judge(name, raw, sizes_beside(file)), Path(name).parent
    beside = externals_of(raw) if one.format == "onnx" and one.allowed else []
    return one, {(folder / external.location).as_posix() for external in beside}
