"""From a decision in the audit log to the training points that carried it.

1. entry    from the log, verified by its key
2. policy   the text that was in force, from the file or the store's versions
3. model    of that policy; its digest must be the entry's
4. input    from the log, or a file that is proved to be the one: by its digest, or by its fingerprint
5. points   influence of every training point on the label that was decided

Not covered: that the training data are those that the model was trained on.  The policy says so, and whoever wrote it
may be wrong.  An answer of `guard.robust` is not followed: the trail is of the policy's own model.
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from redoubt.data import Dataset, load_data
from redoubt.detectors import DeepKnn, Fingerprinter
from redoubt.detectors.influence import LastLayer, Representers, tracin
from redoubt.ledger import leaf_hash
from redoubt.models import Face, Model, load_model
from redoubt.models.tapped import Tapped, default_layers
from redoubt.policy import PolicyFile, parse_policy
from redoubt.records import DataError, LogEntry, PolicyError, digest
from redoubt.records.signals import SIGNALS
from redoubt.records.trail import Proved, Ranking, Trail, TrailPoint
from redoubt.service.log import LogReader, parse_entry
from redoubt.service.protocol import BadRequest
from redoubt.service.protocol.images import pictures

_BATCH = 500
_PIXELS = 2**26


def follow(
    file: PolicyFile, reader: LogReader, index: int, given: Path | None, count: int = 10, by: Ranking = "tracin"
) -> tuple[Trail, Dataset, Tensor]:
    """Follow one decision.

    Args:
        file: the policy of the guard that decided.
        reader: of its log.
        index: of the entry.
        given: a file with the input (`.npy`, PNG or JPEG), for logs that keep none.
        count: how many training points are wanted.
        by: what they are ordered by.

    Returns:
        The trail, the training data, and the input `[*shape]`.

    Raises:
        PolicyError: the entry is no decision of the model, there is no training data, or the version is unknown.
        DataError: the file is not the input that was decided on.
        ModelError: the model is not the one that answered, or has no last layer.
        LedgerError: the log was changed.
    """
    raw = reader.entry(index)
    entry = parse_entry(raw)
    if entry.kind != "decision" or entry.label is None or entry.policy is None or entry.model is None:
        raise PolicyError(
            f"entry {index} is no answer of the model ({entry.kind}{f', {entry.action}' if entry.action else ''})",
            remedy="name the entry of a query that reached the model; redoubt audit show lists them",
        )
    file = _version(file, entry.policy)
    model = load_model(file.policy.model, file.base, lambda *keys: file.place("model", *keys))
    if model.digest() != entry.model:
        raise PolicyError(
            "the model that the policy names is not the one that answered",
            file.place("model"),
            remedy=f"give the model whose digest is {entry.model}",
        )
    x, proved = _input(entry, model.face, given, file)
    train = _training(file, model)
    points, agrees = _points(file, model, train, x, entry.label, count, by)
    trail = Trail(
        log=reader.checkpoint.origin,
        index=index,
        leaf=leaf_hash(raw).hex(),
        at=entry.at,
        policy=entry.policy,
        model=entry.model,
        label=entry.label,
        input=_digest(x.numpy()),
        proved=proved,
        by=by,
        agrees=agrees,
        train=train.source,
        train_digest=train.digest,
        points=points,
    )
    return trail, train, x


# ── 2 policy ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _version(file: PolicyFile, wanted: str) -> PolicyFile:
    """The policy that was in force, by the digest of its text."""
    if digest(file.text.encode()) == wanted:
        return file
    guard = file.policy.guard
    if guard is not None and ("://" in guard.identify.keys or (file.base / guard.identify.keys).is_file()):
        from redoubt.service.stores import open_store

        store = open_store(guard.identify.keys, file.base)
        try:
            found = next((each for each in store.versions() if each.digest == wanted), None)
        finally:
            store.close()
        if found is not None:
            return parse_policy(found.text.encode(), file.path)
    raise PolicyError(
        f"the decision was made under another version of the policy, {wanted[:23]}…",
        file.place(),
        remedy="give that version's file, or run this where the guard's store is",
    )


# ── 4 input ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _input(entry: LogEntry, face: Face, given: Path | None, file: PolicyFile) -> tuple[Tensor, Proved]:
    """The input that was decided on, and how that is known."""
    if entry.input is not None:
        kept = np.frombuffer(base64.b64decode(entry.input), dtype="<f4").reshape(face.shape)
        return torch.from_numpy(kept.copy()), "input"
    if given is None:
        raise PolicyError(
            "the log does not keep inputs, so it cannot say what was asked",
            file.place("guard", "record"),
            remedy="give the input's file with --input; its digest or fingerprint in the log proves it",
        )
    x = _read(given, face)
    if entry.digest is not None:
        if _digest(x) != entry.digest:
            raise DataError(
                f"{given.name} is not the input of this decision: its digest is {_digest(x)}, the log says "
                f"{entry.digest}",
                remedy="give the very values that were sent, as float32",
            )
        return torch.from_numpy(x), "digest"
    if entry.fingerprint:
        if tuple(_fingerprint(x, face, file)) != entry.fingerprint:
            raise DataError(
                f"{given.name} is not the input of this decision: it has another fingerprint",
                remedy="give the very values that were sent",
            )
        return torch.from_numpy(x), "fingerprint"
    raise PolicyError(
        "the log keeps neither digest nor fingerprint of this input, so that nothing can be proved",
        file.place("guard", "record"),
        remedy="add digest to guard.record.keep, for decisions to come",
    )


def _read(given: Path, face: Face) -> NDArray[np.float32]:
    try:
        raw = given.read_bytes()
        if given.suffix.lower() != ".npy":
            drawn: NDArray[np.float32] = pictures([raw], face, _PIXELS)[0]
            return drawn
        x = np.load(given, allow_pickle=False)
    except BadRequest as error:
        raise DataError(f"{given.name}: {error}", remedy="give a .npy file with the values that were sent") from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"cannot read {given}: {error}", remedy="write it with numpy.save(file, x)") from error
    if x.size != int(np.prod(face.shape)) or x.dtype.kind not in "fiu":
        raise DataError(
            f"{given.name} holds {x.dtype} {list(x.shape)}, the model takes float32 {list(face.shape)}",
            remedy="write the one input with numpy.save(file, x)",
        )
    values: NDArray[np.float32] = np.ascontiguousarray(x, dtype=np.float32).reshape(face.shape)
    return values


def _fingerprint(x: NDArray[np.float32], face: Face, file: PolicyFile) -> list[str]:
    from redoubt.service.stores import open_store
    from redoubt.service.versions import guard_of

    guard = guard_of(file)
    store = open_store(guard.identify.keys, file.base)
    try:
        salt = store.salt()
    finally:
        store.close()
    hashes = Fingerprinter(guard.detectors.fingerprints, face, salt).hashes(x[None])[0]
    text: str = hashes.astype(">u8").tobytes().hex(" ", 8)
    return text.split()


def _digest(x: NDArray[np.float32]) -> str:
    """As the guard digests inputs."""
    return f"sha256:{hashlib.sha256(np.ascontiguousarray(x, dtype='<f4').tobytes()).hexdigest()}"


# ── 5 points ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _training(file: PolicyFile, model: Model) -> Dataset:
    source = file.policy.data.train
    if source is None:
        raise PolicyError(
            "the policy does not say what the model was trained on",
            file.place("data"),
            remedy="add train under data",
        )
    return load_data(source, model.face, file.base, lambda *keys: file.place("data", "train", *keys))


def _points(
    file: PolicyFile, model: Model, train: Dataset, x: Tensor, label: int, count: int, by: Ranking
) -> tuple[tuple[TrailPoint, ...], bool | None]:
    answers = torch.cat([model.query(part).labels for part in torch.split(train.x, _BATCH)])
    influence: dict[str, Tensor] = {}
    agrees = None
    if by != "neighbours":
        layer = LastLayer(model)
        features, own = layer.features(train.x), layer.features(x[None])[0]
        logits, mine = layer.logits(features), layer.logits(own[None])[0]
        influence["tracin"] = tracin(logits, features, train.y, mine, own, label)
        if by == "representer":
            fitted = Representers(features, train.y, model.face.classes)
            influence["representer"] = fitted.influence(own, label)
            agrees = int(fitted.logits(own).argmax()) == label
        similar = torch.nn.functional.cosine_similarity(features[:, :-1], own[None, :-1])
        rows: Sequence[int] = influence[by].argsort(descending=True, stable=True)[:count].tolist()
        similarity = {row: float(similar[row]) for row in rows}
    else:
        rows, similarity = _neighbours(file, model, train, x, count)
    return tuple(
        TrailPoint(
            row=row,
            label=int(train.y[row]),
            answer=int(answers[row]),
            digest=_digest(train.x[row].numpy()),
            similarity=max(-1.0, min(1.0, similarity[row])),
            **{name: float(values[row]) for name, values in influence.items()},
        )
        for row in rows
    ), agrees


def _neighbours(
    file: PolicyFile, model: Model, train: Dataset, x: Tensor, count: int
) -> tuple[Sequence[int], dict[int, float]]:
    """The nearest training points: of the guard's deep k-NN if its rules ask it, else by the same layer's outputs."""
    guard = file.policy.guard
    knn = {name for name, signal in SIGNALS.items() if signal.detector == "deep_knn"}
    asked = guard is not None and any(name in rule.rule for rule in guard.admit for name in knn)
    if guard is not None and asked:
        detector = DeepKnn.fit(model, train, guard.detectors.deep_knn, cache=file.path.with_suffix(".cache"))
        _, features = Tapped(model, detector.taps).run(x[None])
        found, similarity = detector.neighbours(features, count)
        rows = found[0].tolist()
        return rows, dict(zip(rows, similarity[0].tolist(), strict=True))
    name = default_layers(model)[-1]
    tapped = Tapped(model, (name,))
    own = tapped.run(x[None])[1][name]
    similar = torch.cat(
        [torch.nn.functional.cosine_similarity(tapped.run(part)[1][name], own) for part in torch.split(train.x, _BATCH)]
    )
    rows = similar.argsort(descending=True, stable=True)[:count].tolist()
    return rows, {row: float(similar[row]) for row in rows}
