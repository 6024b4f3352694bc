"""Says of a file's bytes what they are, and what speaks against them.  The contents decide, never the name."""

import tarfile
from collections.abc import Callable, Iterator
from pathlib import PurePath

from redoubt.records.canonical import digest
from redoubt.supply.archives.hdf5 import MAGIC as HDF5
from redoubt.supply.archives.hdf5 import hdf5_flaws
from redoubt.supply.archives.keras import is_keras, keras_flaws
from redoubt.supply.archives.skops import SCHEMA, skops_flaws
from redoubt.supply.archives.torch_zip import root_of, torch_zip_flaws
from redoubt.supply.archives.zips import LOCAL, Zip, tail_is_zip
from redoubt.supply.findings import Finding, Judgement, Kind
from redoubt.supply.flaw import Damaged, Flaw, shown
from redoubt.supply.graphs.onnx import Sizes, looks_like_onnx, onnx_flaws
from redoubt.supply.pickles.streams import MAGIC_TORCH, legacy_torch_flaws, pickle_flaws, unpacked
from redoubt.supply.tensors.npy import MAGIC as NPY
from redoubt.supply.tensors.npy import npy_flaws, npz_flaws
from redoubt.supply.tensors.safetensors import json_once, looks_like_safetensors, safetensors_flaws

_LEGACY_TORCH = b"\x80\x02\x8a\x0a" + MAGIC_TORCH.to_bytes(10, "little") + b"."
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"]\x00\x00\x80", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_EXPECTED = {
    ".safetensors": {"safetensors"},
    ".onnx": {"onnx"},
    ".npy": {"npy"},
    ".npz": {"npz"},
    ".skops": {"skops"},
    ".keras": {"keras"},
    ".h5": {"hdf5"},
    ".hdf5": {"hdf5"},
    ".json": {"json"},
    ".pt": {"torch", "torch (before 1.6)", "pickle"},
    ".pth": {"torch", "torch (before 1.6)", "pickle"},
    ".pkl": {"pickle", "packed pickle", "torch", "torch (before 1.6)"},
    ".pickle": {"pickle", "packed pickle"},
    ".joblib": {"pickle", "packed pickle"},
    ".txt": {"text"},
    ".md": {"text"},
}
"""What a file's name makes its reader expect, where that is known."""

_KNOWN = (
    (b"GGUF", "a GGUF file"), (b"ggml", "a GGML file"), (b"\x7fELF", "a program or library (ELF)"),
    (b"MZ", "a program or library (Windows)"), (b"\xca\xfe\xba\xbe", "a program or library, or Java"),
    (b"\xcf\xfa\xed\xfe", "a program or library (macOS)"), (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"), (b"\x28\xb5\x2f\xfd", "a file packed by zstd"),
    (b"\x04\x22\x4d\x18", "a file packed by LZ4"),
    (b"#!", "a script"), (b"RDX", "an R workspace"), (b"PAR1", "a Parquet file"), (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"), (b"OBJ\x01", "an Avro file"), (b"%PDF", "a PDF document"),
)  # fmt: skip
_SUFFIXES = {
    ".py": "Python source", ".so": "a library", ".sh": "a script", ".ipynb": "a notebook", ".bat": "a script",
    ".ps1": "a script", ".dll": "a library", ".pyc": "Python bytecode", ".whl": "a Python package",
}  # fmt: skip
_WHAT_TO_DO = "load nothing of it; ask for safetensors, ONNX or skops"
_MOST_TEXT = 64 * 2**20


def judge(name: str, raw: bytes, sizes: Sizes = lambda _: None) -> Judgement:
    """Judge one file.  Nothing in it is executed, imported or unpacked to disk, whatever it is.

    Args:
        name: its name, for the suffix and for the judgement.
        raw: all of its bytes.
        sizes: for ONNX: the size of a file beside it, or None.

    Returns:
        A judgement; never raises for what the bytes hold.
    """
    found: list[Flaw] = []
    what = "a file"
    try:
        what, flaws = _told_apart(name, raw, sizes)
        for flaw in flaws:
            found.append(flaw)
            if len(found) >= 50:
                break
    except Damaged as damaged:
        found.append(damaged.flaw)
    except Exception as error:  # the wall: whatever hostile bytes lead a reader to is a finding, and not a crash
        found.append(Flaw(Kind.DAMAGED, "", f"cannot be read: {shown(type(error).__name__)}: {shown(error)}"))
    found += _of_name(name, what)
    if what not in _ZIPS and what != "a file" and tail_is_zip(raw):
        found.append(
            Flaw(
                Kind.DECEIVES,
                "the file's end",
                "is also a zip archive: readers that begin at the end take it for that",
                "write the file again",
            )
        )
    return Judgement(
        file=name,
        format=what,
        size=len(raw),
        digest=digest(raw),
        findings=tuple(Finding(kind=f.kind, place=f.place, what=f.what, remedy=f.remedy or _WHAT_TO_DO) for f in found),
    )


_ZIPS = frozenset({"npz", "skops", "keras", "torch", "TorchScript", "a zip archive"})


def _told_apart(name: str, raw: bytes, sizes: Sizes) -> tuple[str, Iterator[Flaw]]:
    """The format's name, and what its reader finds."""
    if not raw:
        return _empty(name)
    if raw.startswith((LOCAL, b"PK\x05\x06")):
        return _zip(raw)
    by_magic: list[tuple[bool, str, Callable[[], Iterator[Flaw]]]] = [
        (raw.startswith(NPY), "npy", lambda: npy_flaws(raw)),
        (raw.startswith(HDF5), "hdf5", lambda: hdf5_flaws(raw)),
        (raw.startswith(_LEGACY_TORCH), "torch (before 1.6)", lambda: legacy_torch_flaws(raw)),
        (looks_like_safetensors(raw), "safetensors", lambda: safetensors_flaws(raw)),
        (raw[:1] == b"\x80" and raw[1:2] <= b"\x05", "pickle", lambda: pickle_flaws(raw)),
        (raw.startswith(_PACKED), "packed pickle", lambda: _packed(raw)),
    ]
    for fits, what, flaws in by_magic:
        if fits:
            return what, flaws()
    suffix = PurePath(name).suffix.lower()
    for magic, known in _KNOWN:
        if raw.startswith(magic):
            return known, _unknown(known)
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix], _unknown(_SUFFIXES[suffix])
    if raw[257:262] == b"ustar" or _is_tar(raw):
        return "a tar archive", _unknown("a tar archive, which can hold pickles of torch before 0.4")
    if suffix == ".safetensors":
        return "safetensors", safetensors_flaws(raw)
    if suffix == ".onnx" or looks_like_onnx(raw):
        return "onnx", onnx_flaws(raw, sizes)
    if suffix == ".json" or (raw.lstrip()[:1] in (b"{", b"[") and suffix not in _OLD_PICKLES):
        return "json", _json(raw)
    if suffix in _OLD_PICKLES or _begins_like_pickle(raw):
        return "pickle", pickle_flaws(raw)
    if _is_text(raw):
        return "text", iter(())
    known = f"a '{suffix}' file" if suffix else "of no known format"
    return known, _unknown(known)


_OLD_PICKLES = frozenset({".pkl", ".pickle", ".pt", ".pth", ".joblib", ".bin", ".ckpt"})


def _empty(name: str) -> tuple[str, Iterator[Flaw]]:
    expected = _EXPECTED.get(PurePath(name).suffix.lower(), {"text"})
    what = min(expected)
    return what, iter(() if what == "text" else [Flaw(Kind.DAMAGED, "", "is empty")])


def _zip(raw: bytes) -> tuple[str, Iterator[Flaw]]:
    try:
        archive = Zip(raw)
    except Damaged as damaged:
        return "a zip archive", iter([damaged.flaw])
    root, names = root_of(archive), set(archive.names())
    if root is not None:
        program = any(name.startswith((f"{root}/code/", f"{root}/constants.pkl")) for name in names)
        return "TorchScript" if program else "torch", _each(archive, torch_zip_flaws(archive, root))
    if SCHEMA in names:
        return "skops", _each(archive, skops_flaws(archive))
    if is_keras(archive):
        return "keras", _each(archive, keras_flaws(archive))
    if names and all(name.endswith(".npy") for name in names):
        return "npz", _each(archive, npz_flaws(archive))
    return "a zip archive", _each(archive, _unknown("a zip archive of no known format"))


def _each(archive: Zip, inner: Iterator[Flaw]) -> Iterator[Flaw]:
    """First what is wrong with the archive as such; what is packed like a bomb is not unpacked."""
    own = list(archive.flaws())
    yield from own
    if not any(flaw.kind is Kind.BOMB for flaw in own):
        yield from inner


def _packed(raw: bytes) -> Iterator[Flaw]:
    _, inner = unpacked(raw)
    yield from pickle_flaws(inner)


def _unknown(what: str) -> Iterator[Flaw]:
    yield Flaw(Kind.UNKNOWN_FORMAT, "", f"is {what}: Redoubt cannot tell what reading it would do", _WHAT_TO_DO)


def _json(raw: bytes) -> Iterator[Flaw]:
    """Configurations are data, but some readers take names of code from them."""
    if len(raw) > _MOST_TEXT:
        raise Damaged("", f"has more than {_MOST_TEXT} bytes", Kind.BOMB)
    told = json_once(raw, "")
    if isinstance(told, dict):
        for key in ("auto_map", "custom_pipelines"):
            if told.get(key):
                yield Flaw(
                    Kind.RUNS_CODE,
                    key,
                    f"names Python code ({shown(told[key])}) that transformers runs with trust_remote_code",
                    "remove the key, and load with a class of the library itself",
                )


def _of_name(name: str, what: str) -> Iterator[Flaw]:
    expected = _EXPECTED.get(PurePath(name).suffix.lower())
    if expected is not None and what not in expected and what != "a file":
        yield Flaw(
            Kind.DECEIVES,
            "the file's name",
            f"says {PurePath(name).suffix}, and the contents are {what}",
            "give it the name of what it is, if it is what you expect",
        )


def _is_tar(raw: bytes) -> bool:
    if len(raw) < 512 or b"\0" not in raw[:100]:
        return False
    try:
        tarfile.TarInfo.frombuf(raw[:512], "utf-8", "replace")
    except tarfile.HeaderError:
        return False
    return True


def _begins_like_pickle(raw: bytes) -> bool:
    """Protocols 0 and 1 have no magic: whether the first bytes are as their writers begin."""
    return (
        raw.startswith((b"(dp", b"(lp", b"(ip", b"(tp", b"ccopy_reg\n", b"c__builtin__\n", b"cos\n", b"cposix\n"))
        or (raw[:1] in b"c(}]" and raw.rstrip()[-1:] == b"." and b"\n" in raw[:200] and not _is_text(raw))
        or (
            raw[:1] == b"c"
            and raw[-1:] == b"."
            and raw[1:40].partition(b"\n")[0].replace(b".", b"").replace(b"_", b"").isalnum()
        )
    )


def _is_text(raw: bytes) -> bool:
    """UTF-8 without control characters."""
    if len(raw) > _MOST_TEXT:
        return False
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return not any(c < " " and c not in "\t\n\r\f" for c in text)
