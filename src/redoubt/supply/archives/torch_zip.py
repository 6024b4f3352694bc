"""What `torch.save` writes since 1.6: a zip archive of one pickle, and a member for each storage it refers to.

Source: torch/serialization.py and caffe2/serialize/inline_container.cc.  TorchScript (`torch.jit.save`) and
`torch.export` archives use the same container for programs: they are refused, since loading one is running what its
author compiled.
"""

import re
from collections.abc import Iterator

from redoubt.supply.archives.zips import Zip
from redoubt.supply.findings import Kind
from redoubt.supply.flaw import Flaw, shown
from redoubt.supply.pickles.machine import Stop
from redoubt.supply.pickles.opcodes import follow

_PLAIN = re.compile(
    r"(data\.pkl|version|byteorder|\.format_version|\.storage_alignment|\.data/serialization_id|data/\d+|)"
)
_MOST_PICKLE = 2**30  # bytes
_PROGRAM = "ask for the state_dict as safetensors, or for an ONNX export"


def root_of(archive: Zip) -> str | None:
    """The folder in the archive under which everything stands, if it is one of torch's; else None."""
    roots = {name.partition("/")[0] for name in archive.names()}
    if len(roots) != 1:
        return None
    (root,) = roots
    return (
        root if {f"{root}/data.pkl", f"{root}/constants.pkl", f"{root}/archive_format"} & set(archive.names()) else None
    )


def torch_zip_flaws(archive: Zip, root: str) -> Iterator[Flaw]:
    """What speaks against an archive of torch, whose pickle is followed.

    Raises:
        Damaged: a member cannot be read.
    """
    names = archive.names()
    inner = [name.removeprefix(f"{root}/") for name in names]
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner) or "archive_format" in inner:
        yield Flaw(
            Kind.RUNS_CODE,
            f"{shown(root)}/code",
            "is a TorchScript or exported program: loading it runs its code",
            _PROGRAM,
        )
    else:
        for name, bare in zip(names, inner, strict=True):
            if not _PLAIN.fullmatch(bare):
                yield Flaw(Kind.UNKNOWN_FORMAT, shown(name), "is nothing that torch.save writes", "save it again")
    for member in archive.members:
        if not member.name.endswith(".pkl"):
            continue
        raw = archive.unpack(member, _MOST_PICKLE)
        try:
            done = follow(raw)
        except Stop as stop:
            yield stop.flaw._replace(place=f"{shown(member.name)}, {stop.flaw.place}")
            continue
        if done.end != len(raw):
            yield Flaw(
                Kind.DECEIVES,
                f"{shown(member.name)}, byte {done.end}",
                "bytes stand behind the pickle's end",
                "save it again",
            )
    for member in archive.members:
        if not member.name.endswith(".pkl"):
            archive.unpack(member, 2**40)  # for its checksum, which torch itself does not look at
