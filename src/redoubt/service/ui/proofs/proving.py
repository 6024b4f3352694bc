"""The log's proof for one entry, laid out step by step, so that the reader's own browser can take every step again.

Unlike `LogReader.proof`, which raises at the first thing that is wrong, this shows what is on the disk and what is
wrong with it.
"""

from dataclasses import dataclass

from redoubt.ledger import (
    TILE_WIDTH,
    Tile,
    inclusion_proof,
    leaf_hash,
    node_hash,
    nodes_of,
    tile_of,
    verify_inclusion,
)
from redoubt.records import LedgerError
from redoubt.service.log import LogReader
from redoubt.service.log.files import read_tile
from redoubt.service.ui.proofs.reading import Opened


@dataclass(frozen=True)
class Climb:
    """One step from the leaf to the root.

    Attributes:
        sibling: the hash that the log gives, hexadecimal.
        left: whether it stands on the left.
        node: the hash of both.
    """

    sibling: str
    left: bool
    node: str


@dataclass(frozen=True)
class Shown:
    """A proof, and the server's own word on it.

    Attributes:
        index, size: of the entry, and of the checkpoint's tree.
        text: the entry as it is on the disk.
        leaf: its hash, hexadecimal.
        climbs: from the leaf to the root.
        root: the checkpoint's.
        note: the signed checkpoint.
        key: the log's verifier key.
        wrong: why the entry is not proved; empty if it is.
    """

    index: int
    size: int
    text: str
    leaf: str
    climbs: list[Climb]
    root: str
    note: str
    key: str
    wrong: str


def show_proof(opened: Opened, index: int) -> Shown:
    """Lay out the proof of an entry that the checkpoint has.

    Raises:
        LedgerError: files are missing or malformed, so that there is nothing to lay out.
        StorageError: the disk refuses.
    """
    reader = opened.reader
    size, root = reader.size, reader.checkpoint.root
    entry = _entry(reader, index)
    leaf = leaf_hash(entry)
    hashes = inclusion_proof(index, size, nodes_of(size, lambda tile: read_tile(reader.folder, tile)))
    wrong = opened.trouble
    try:
        verify_inclusion(leaf, index, size, hashes, root)
    except LedgerError as error:
        wrong = error.what
    note = bytes(reader.note).decode()
    text = entry.decode(errors="replace")
    return Shown(
        index, size, text, leaf.hex(), _climb(leaf, index, size, hashes), root.hex(), note, str(opened.key), wrong
    )


def _entry(reader: LogReader, index: int) -> bytes:
    n, at = divmod(index, TILE_WIDTH)
    bundle = Tile(None, n, tile_of(0, n, reader.size).width)
    return read_tile(reader.folder, bundle)[at]


def _climb(leaf: bytes, index: int, size: int, hashes: list[bytes]) -> list[Climb]:
    """The nodes on the way up (RFC 9162 section 2.1.3.2)."""
    node, last, found, climbs = index, size - 1, leaf, []
    for sibling in hashes:
        left = bool(node & 1) or node == last
        found = node_hash(sibling, found) if left else node_hash(found, sibling)
        climbs.append(Climb(sibling.hex(), left, found.hex()))
        while left and node and not node & 1:
            node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1
    return climbs
