"""Past queries of the guard's log, as far as it keeps inputs: what was asked, and what was answered."""

import base64
import binascii
import math
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

from redoubt.models.base import Face
from redoubt.service.log import LogReader, parse_entry

_EACH = 0.1  # the share of all that are wanted which may come from one account


def past_queries(log: Path, face: Face, most: int) -> dict[str, Tensor] | None:
    """The latest queries that were answered, each input once.

    Of one account at most a tenth of `most` are taken, or all, if nobody else asks: whoever floods a guard must not
    choose what its updates are compared on.

    Args:
        log: the log's folder.
        face: of the model; inputs of another size are passed over.
        most: how many are wanted.

    Returns:
        `x`, float32 `[N, *shape]`, and `labels`, int64 `[N]`, as the model gave them; None if there are none.

    Raises:
        LedgerError: the log was changed.
        StorageError: the disk refuses.
    """
    if most < 1 or not (log / "checkpoint").is_file():
        return None
    reader = LogReader(log)
    size, each = math.prod(face.shape), max(round(_EACH * most), 1)
    held: Counter[str | None] = Counter()
    seen: set[str] = set()
    taken: list[tuple[str, int]] = []
    rest: list[tuple[str, int]] = []
    for index in range(reader.size - 1, -1, -1):
        entry = parse_entry(reader.entry(index))
        if entry.kind != "decision" or entry.input is None or entry.label is None or entry.input in seen:
            continue
        if not 0 <= entry.label < face.classes or len(entry.input) != -(-4 * size // 3) * 4:
            continue
        seen.add(entry.input)
        held[entry.account] += 1
        if held[entry.account] <= each:
            taken.append((entry.input, entry.label))
        elif len(rest) < most:
            rest.append((entry.input, entry.label))
        if len(taken) == most:
            break
    if len(held) == 1:
        taken += rest[: most - len(taken)]
    rows = [(values, label) for text, label in taken if (values := _values(text, face)) is not None]
    if not rows:
        return None
    return {"x": torch.stack([values for values, _ in rows]), "labels": torch.tensor([label for _, label in rows])}


def _values(text: str, face: Face) -> Tensor | None:
    """An input of the log, or None if it is none of this face."""
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    if len(raw) != 4 * math.prod(face.shape):
        return None
    values = torch.frombuffer(bytearray(raw), dtype=torch.float32).reshape(face.shape)
    inside = bool((values >= face.low).all() and (values <= face.high).all())
    return values if inside else None
