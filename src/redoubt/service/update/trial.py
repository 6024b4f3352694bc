"""`redoubt update`: what becomes of a candidate.

The order of steps, which the tests' names repeat:

1. hand in   read it once, through the supply gate
2. keep      under an id, whatever becomes of it
3. learn     if it is a batch: in the sandbox, on a copy of the model; what comes of it passes the supply gate as well
   pack      if it is an ONNX model with tensors in files beside it: in the sandbox, into one file, that a digest pins
4. compare   in the sandbox: held-out data, past queries, requirements
5. judge     by the policy's bounds
6. write     the evidence
7. switch    if it is accepted
"""

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
from pydantic import ValidationError

from redoubt import __version__
from redoubt.games.update import judge_update
from redoubt.models.adapter import face_of
from redoubt.models.onnx_file import pack_onnx
from redoubt.policy import PolicyFile, read_policy
from redoubt.policy.explain_update import not_reassessed
from redoubt.records import (
    ModelError,
    Observed,
    PolicyError,
    Update,
    UpdateEvidence,
    canonical_json,
    digest,
)
from redoubt.records.canonical import Json
from redoubt.records.update_evidence import Outcome
from redoubt.service.sandbox.confine import Limits
from redoubt.service.sandbox.run import Ended, run_sandboxed
from redoubt.service.update.admit import Handed, hand_in
from redoubt.service.update.force import BY, Force, in_force, relative, switch
from redoubt.service.update.queries import past_queries
from redoubt.service.update.shelf import HANDED, PACKED, WEIGHTS, Anchor, Shelf, State
from redoubt.storage import write_atomically
from redoubt.supply.artefact import MOST_BYTES, read_once
from redoubt.supply.gate import Gate
from redoubt.supply.graphs.onnx import externals_of

_LEAST_FILE = 64 * 2**20  # bytes that a sandbox may write to one file


@dataclass
class _Trial:
    """A candidate on its way, and what is known of it so far."""

    force: Force
    update: Update
    handed: Handed
    folder: Path
    weights: Path | None = None
    held: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        return self.folder.name


def try_candidate(policy: Path, candidate: Path, now: float) -> tuple[UpdateEvidence, State]:
    """Try a candidate, and put it in force if the policy's bounds hold.

    Args:
        policy: the policy file, with an `update` section.
        candidate: the model's new file, or a `.npz` of examples to learn.
        now: seconds since 1970-01-01 UTC.

    Returns:
        The evidence, and what became of it.

    Raises:
        RedoubtError: the policy, its data, the model in force or the disk is to blame, and not the candidate.
    """
    file = read_policy(policy)
    force = in_force(file)
    update = force.now.policy.update
    if update is None:
        raise PolicyError("the policy has no update section", file.place(), remedy="add update: as docs/update.md says")
    shelf = Shelf(policy)
    handed = hand_in(candidate, force.now)
    trial = _keep(shelf, force, update, handed)
    evidence = _try(trial, shelf)
    write_atomically(trial.folder / "evidence.json", canonical_json(evidence))
    became: Mapping[Outcome, str] = {"refused": "refused", "person": "person", "accepted": "person"}
    state = State.model_validate({"became": became[evidence.outcome], "by": "gate", "at": now})
    shelf.state(trial.identity, state)
    if evidence.outcome == "accepted":
        state = put_in_force(shelf, force, evidence, "gate", now)
    return evidence, state


def put_in_force(shelf: Shelf, force: Force, evidence: UpdateEvidence, by: str, now: float) -> State:
    """Put a candidate in force that was compared with what is in force.

    Raises:
        PolicyError: it was compared with something else, does not wait any more, or there are no weights.
        StorageError: its file was changed, or the store or the disk refuses.
    """
    file = _model_file(shelf.of(evidence.id), evidence)
    bundle = file.with_name(f"{file.name}.sig")
    base = force.file.base
    name = relative(file, base)
    scheme = force.now.policy.model.source.partition(":")[0]
    values: dict[tuple[str | int, ...], str] = (
        {("weights",): name} if scheme == "torch" else {("source",): f"{scheme}:{name}"}
    )
    if bundle.is_file():
        values[("signature", "bundle")] = relative(bundle, base)
    text = force.now.with_model(values | {("digest",): str(evidence.weights)})
    with shelf.alone():
        _waiting(shelf, evidence.id)  # a person may have refused it meanwhile
        switch(force, text, f"{BY}{evidence.id}", now)
        state = State(became="in force", by=by, at=now, after=digest(text.encode()))
        shelf.state(evidence.id, state)
    return state


def approve(policy: Path, identity: str, by: str, now: float) -> State:
    """A person puts a candidate in force that waits for one, and vouches for it: later updates count from there.

    Raises:
        PolicyError: it does not wait, or what is in force is no longer what it was compared with.
    """
    shelf = Shelf(policy)
    evidence = _waiting(shelf, identity)
    force = in_force(read_policy(policy))
    if digest(force.now.text.encode()) != evidence.policy:
        raise PolicyError(
            f"candidate {identity} was compared with another version than the one in force",
            remedy="hand it in again: redoubt update POLICY --candidate FILE",
        )
    state = put_in_force(shelf, force, evidence, by, now)
    vouch_for(shelf, _model_file(shelf.of(identity), evidence))
    return state


def reject(policy: Path, identity: str, by: str, now: float) -> State:
    """A person refuses a candidate that waits for one; it is kept.

    Raises:
        PolicyError: it does not wait.
    """
    shelf = Shelf(policy)
    state = State(became="rejected", by=by, at=now)
    with shelf.alone():
        _waiting(shelf, identity)
        shelf.state(identity, state)
    return state


def vouch_for(shelf: Shelf, file: Path) -> None:
    """Keep a copy of a model's file as what later updates are counted from; with the tensors beside it, if any."""
    raw = read_once(file, MOST_BYTES)
    name = f"anchor{file.suffix}"
    write_atomically(shelf.folder / name, pack_onnx(file) if file.suffix == ".onnx" and externals_of(raw) else raw)
    shelf.vouch(Anchor(file=name, digest=digest(raw)))


def _waiting(shelf: Shelf, identity: str) -> UpdateEvidence:
    evidence, state = shelf.read(identity)
    if state.became != "person":
        raise PolicyError(
            f"candidate {identity} does not wait for a person: it is {state.became}",
            remedy="see: redoubt update POLICY --list; bounds are changed in the policy, and it is handed in again",
        )
    return evidence


def _model_file(folder: Path, evidence: UpdateEvidence) -> Path:
    """The file of a candidate's model, as it was compared."""
    if evidence.weights is None:
        raise PolicyError(f"candidate {evidence.id} has no model", remedy="hand it in again")
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".onnx", ".skops") and digest(read_once(path)) == evidence.weights:
            return path
    raise PolicyError(
        f"the file of candidate {evidence.id} is not what was compared",
        remedy=f"find out who changed {folder}, and hand the candidate in again",
    )


# ── the steps ────────────────────────────────────────────────────────────────────────────────────────────────────


def _keep(shelf: Shelf, force: Force, update: Update, handed: Handed) -> _Trial:
    """2 keep: the file as it was handed in.  What the supply gate refuses gets a name that nothing opens."""
    identity = digest([handed.digest, digest(force.now.text.encode())]).removeprefix("sha256:")[:12]
    folder = shelf.of(identity)
    if (folder / "state.json").is_file():
        _, state = shelf.read(identity)
        if state.became in ("rejected", "in force"):
            raise PolicyError(
                f"this candidate was handed in before, and is {state.became} (by {state.by})",
                remedy=f"see {folder / 'evidence.json'}",
            )
    own = "candidate.refused" if handed.why else f"{HANDED}/{handed.name}" if handed.parts else handed.name
    for name, raw in handed.parts.items():
        write_atomically(folder / HANDED / name, raw)
    write_atomically(folder / own, handed.raw)
    write_atomically(folder / "before.yaml", force.now.text.encode())
    if handed.bundle is not None:
        write_atomically(folder / f"{handed.name}.sig", handed.bundle)
    return _Trial(force, update, handed, folder)


def _try(trial: _Trial, shelf: Shelf) -> UpdateEvidence:
    """3 learn, 4 compare, 5 judge."""
    if trial.handed.why:
        return _evidence(trial, "refused", (trial.handed.why,))
    with tempfile.TemporaryDirectory(prefix="redoubt-update-") as name:
        scratch = Path(name)
        if trial.handed.kind == "batch":
            why = _learn(trial, scratch)
            if why:
                return _evidence(trial, "refused", (why,))
        elif trial.handed.parts:
            why = _pack(trial, scratch)
            if why:
                return _evidence(trial, "refused", (why,))
        else:
            trial.weights = trial.folder / trial.handed.name
        anchor = _anchor(trial.force, shelf)
        ended = _compare(trial, scratch, shelf, anchor)
    if ended.result is None:
        return _evidence(trial, "refused", (f"The candidate could not be compared. {ended.why}",))
    try:
        told = ended.result
        if not isinstance(told, dict):
            raise TypeError("no object")
        observed = Observed.model_validate(told["observed"])
        outcome, reasons, changes = judge_update(observed, trial.update)
        left = not_reassessed(trial.force.now.policy, trial.update)
        if left and outcome == "accepted":
            reasons += (f"Not assessed again: {', '.join(left)}.",)
        trial.versions = {str(key): str(value) for key, value in told["versions"].items()}
        more = {"current": told["current"], "anchor": told.get("anchor"), "model": observed.model}
        return _evidence(trial, outcome, reasons, changes=changes, requirements=observed.requirements, **more)
    except (ValidationError, ValueError, KeyError, TypeError, AttributeError) as error:
        return _evidence(trial, "refused", (f"The candidate's process answered nonsense: {str(error)[:300]}",))


def _learn(trial: _Trial, scratch: Path) -> str:
    """Learn a batch; why there are no weights, or nothing if there are."""
    ended = _sandboxed(trial, scratch, {"do": "learn", "batch": str((trial.folder / trial.handed.name).resolve())})
    if ended.result is None:
        return f"The batch could not be learnt. {ended.why}"
    return _take(trial, scratch / WEIGHTS, "safetensors")


def _pack(trial: _Trial, scratch: Path) -> str:
    """Put an ONNX model and the tensors beside it into one file; why there is none, or nothing if there is."""
    whole = (trial.folder / HANDED / trial.handed.name).resolve()
    ended = _sandboxed(trial, scratch, {"do": "pack", "candidate": str(whole)})
    if ended.result is None:
        return f"The candidate could not be read. {ended.why}"
    return _take(trial, scratch / PACKED, "onnx")


def _take(trial: _Trial, made: Path, wanted: str) -> str:
    """Keep what came out of the sandbox, if the supply gate has nothing against it; else why."""
    try:
        raw = Gate().admit(made, wanted, _most_file(trial))
    except ModelError as error:
        return f"What came of the {trial.handed.kind} is refused: {error.what}."
    trial.weights = trial.folder / made.name
    write_atomically(trial.weights, raw)
    return ""


def _compare(trial: _Trial, scratch: Path, shelf: Shelf, anchor: Anchor | None) -> Ended:
    job: dict[str, Json] = {"do": "compare", "candidate": str(trial.weights.resolve() if trial.weights else "")}
    if anchor is not None:
        job["anchor"] = str((shelf.folder / anchor.file).resolve())
    if trial.handed.kind == "batch":
        job["batch"] = str((trial.folder / trial.handed.name).resolve())
    policy = trial.force.now.policy
    if policy.guard is not None:
        log = trial.force.now.base / policy.guard.record.log
        past = past_queries(log, face_of(policy.model), trial.update.queries)
        if past is not None:
            (scratch / "queries.safetensors").write_bytes(safetensors.torch.save(past))
            job["queries"] = str((scratch / "queries.safetensors").resolve())
    return _sandboxed(trial, scratch, job)


def _sandboxed(trial: _Trial, scratch: Path, job: Mapping[str, Json]) -> Ended:
    limits = trial.update.limits
    now = trial.force.now
    whole = {**job, "policy": now.text, "path": str(now.path.resolve())}
    most = Limits(math.ceil(limits.time), round(limits.memory), _most_file(trial))
    ended = run_sandboxed(whole, scratch, most, limits.time)
    trial.held = ended.held or trial.held
    return ended


def _most_file(trial: _Trial) -> int:
    file = _current_file(trial.force.now)
    return max(4 * (file.stat().st_size if file is not None else 0), 2 * trial.handed.size, _LEAST_FILE)


def _current_file(file: PolicyFile) -> Path | None:
    """The file of the model in force; None for a torch model without weights."""
    model = file.policy.model
    scheme, _, rest = model.source.partition(":")
    name = model.weights if scheme == "torch" else rest
    path = file.base / name if name else None
    return path if path is not None and path.is_file() else None


def _anchor(force: Force, shelf: Shelf) -> Anchor | None:
    """What updates are counted from; None where that is the model in force itself.

    A model that came into force by another way than through this gate was put there by a person.
    """
    file = _current_file(force.now)
    if file is None:
        return None
    mine, anchor = digest(read_once(file, MOST_BYTES)), shelf.anchor()
    gated = {evidence.weights for evidence, state in shelf.all() if state.became == "in force" and state.by == "gate"}
    if anchor is None or (mine != anchor.digest and mine not in gated):
        vouch_for(shelf, file)
        return None
    return anchor if anchor.digest != mine else None


def _evidence(trial: _Trial, outcome: Outcome, reasons: tuple[str, ...], **more: object) -> UpdateEvidence:
    weights = digest(read_once(trial.weights)) if trial.weights is not None else None
    known: dict[str, object] = {"model": None, "current": None, "anchor": None} | more
    return UpdateEvidence.model_validate(
        {
            "redoubt": __version__,
            "id": trial.identity,
            "kind": trial.handed.kind,
            "system": trial.force.now.policy.system,
            "outcome": outcome,
            "reasons": reasons,
            "candidate": trial.handed.digest,
            "weights": weights,
            "policy": digest(trial.force.now.text.encode()),
            "sandbox": trial.held,
            "versions": trial.versions,
            **known,
        }
    )
