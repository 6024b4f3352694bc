"""What is done with a candidate inside the sandbox: learn a batch, or compare models and assess requirements again."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from redoubt.assess import assess
from redoubt.assess.system import repeatable, versions
from redoubt.data import Dataset, load_data
from redoubt.games.update import Said, against_stored, compare, contradicted
from redoubt.models import Model, load_model
from redoubt.models.onnx_file import pack_onnx
from redoubt.policy import PolicyFile, parse_policy
from redoubt.records import (
    DataSource,
    EvasionRequirement,
    ModelSource,
    Observed,
    Policy,
    Reassessed,
    RedoubtError,
    Update,
)
from redoubt.records.canonical import Json
from redoubt.records.update_evidence import Against
from redoubt.service.update.learn import learn_batch
from redoubt.service.update.shelf import PACKED, WEIGHTS

_BATCH = 250


class Guilty(Exception):
    """The candidate is to blame, and not the policy, the data or the model in force."""


@contextlib.contextmanager
def _blaming() -> Iterator[None]:
    """Whatever goes wrong within is the candidate's fault."""
    try:
        yield
    except RedoubtError as error:
        raise Guilty(error.what) from error
    except (RuntimeError, ValueError, ArithmeticError, LookupError) as error:
        raise Guilty(f"{type(error).__name__}: {error}") from error


def perform(job: dict[str, Any], folder: Path) -> Json:
    """Do a job.

    Args:
        job: `do` is `learn`, `pack` or `compare`; `policy` and `path` are the text in force and where its file lies;
            the other keys are explained in `redoubt.service.update.trial`.
        folder: where files may be written.

    Returns:
        `Observed` as JSON; versions alone for `learn` and `pack`.

    Raises:
        Guilty: the candidate is to blame that there is no result.
        RedoubtError: the policy, its data or the model in force is.
    """
    torch.set_num_threads(1)
    if job["do"] == "pack":
        with _blaming():
            (folder / PACKED).write_bytes(pack_onnx(Path(job["candidate"])))
        return {"versions": versions()}
    file = parse_policy(job["policy"].encode(), Path(job["path"]))
    update = file.policy.update or Update()
    current = _load(file, file.policy.model)
    if job["do"] == "learn":
        batch = _batch(job, current, file)
        train = _data(file, file.policy.data.train, current, "train") if file.policy.data.train else None
        with _blaming():
            state = learn_batch(current, batch, train, update.learn, file.policy.seed)
            (folder / WEIGHTS).write_bytes(safetensors.torch.save(state))
        return {"versions": versions()}
    return _compare(job, file, update, current, folder)


def _compare(job: dict[str, Any], file: PolicyFile, update: Update, current: Model, folder: Path) -> Json:
    source = _candidate(file.policy.model, job["candidate"])
    anchor = _load(file, _candidate(file.policy.model, job["anchor"])) if job.get("anchor") else None
    held = _data(file, update.held_out or file.policy.data.test, current, "test")
    past = safetensors.torch.load_file(job["queries"]) if job.get("queries") else None
    batch = _batch(job, current, file) if job.get("batch") else None
    truth, classes = held.y.numpy(), current.face.classes
    with _blaming():
        candidate = _load(file, source)
        now = _said(candidate, held.x)
        now_past = _said(candidate, past["x"]) if past else None
    compared = []
    for against, model in (("current", current), ("anchor", anchor)):
        if model is None:
            continue
        whose: Against = "current" if against == "current" else "anchor"
        compared.append(compare(_said(model, held.x), now, classes, "held_out", whose, truth))
        if past and now_past:
            compared.append(compare(_said(model, past["x"]), now_past, classes, "queries", whose, None))
    if past and now_past:
        compared.append(against_stored(past["labels"].numpy(), now_past, classes))
    learnt = contradicted(_said(current, batch.x), batch.y.numpy()) if batch else None
    with _blaming():
        again = _again(file, source, update, folder) if update.requirements == "hold" else ()
    observed = Observed(model=candidate.digest(), compared=tuple(compared), batch=learnt, requirements=again)
    told: dict[str, Json] = {"observed": observed.model_dump(mode="json"), "current": current.digest()}
    return told | {"versions": versions(), "anchor": anchor.digest() if anchor else None}


def _candidate(model: ModelSource, file: str) -> ModelSource:
    """The model of the policy, with another file; the gate has looked at these very bytes already."""
    scheme = model.source.partition(":")[0]
    other = {"weights": file} if scheme == "torch" else {"source": f"{scheme}:{file}"}
    return model.model_copy(update=other | {"digest": None, "signature": None})


def _load(file: PolicyFile, source: ModelSource) -> Model:
    return load_model(source, file.base, lambda *keys: file.place("model", *keys))


def _data(file: PolicyFile, source: DataSource, model: Model, part: str) -> Dataset:
    return load_data(source, model.face, file.base, lambda *keys: file.place("data", part, *keys))


def _batch(job: dict[str, Any], model: Model, file: PolicyFile) -> Dataset:
    with _blaming():
        return load_data(DataSource(source=f"npz:{job['batch']}"), model.face, file.base, lambda *_: None)


def _said(model: Model, x: Tensor) -> Said:
    """A model's answers to `[N, *shape]`."""
    labels, probabilities, unsound = [], [], []
    for start in range(0, len(x), _BATCH):
        with repeatable(start):
            answer = model.query(x[start : start + _BATCH])
        labels.append(answer.labels)
        scores = answer.scores if answer.scores is not None else torch.zeros(len(answer.labels), model.face.classes)
        probabilities.append(scores.double().softmax(dim=1))
        unsound.append(~scores.isfinite().all(dim=1) & ~answer.refused)
    return Said(
        torch.cat(labels).numpy().astype(np.int64), torch.cat(probabilities).numpy(), torch.cat(unsound).numpy()
    )


def _again(file: PolicyFile, source: ModelSource, update: Update, folder: Path) -> tuple[Reassessed, ...]:
    """The evasion requirements, assessed again on a small budget."""
    requirements = tuple(each for each in file.policy.requirements if isinstance(each, EvasionRequirement))
    if not requirements:
        return ()
    small = dataclasses.replace(file, policy=_small(file.policy, source, update, requirements))
    evidence = assess(small, folder / "requirements")
    found = []
    for requirement, each in zip(requirements, evidence.requirements, strict=True):
        measured = next((m.value for m in each.measures if m.measure == requirement.require.measure), None)
        bound = requirement.require
        keeps = (
            None if measured is None else measured >= bound.value if bound.sense == ">=" else measured <= bound.value
        )
        found.append(Reassessed(id=each.id, verdict=each.verdict, reason=each.reason[:10_000], keeps=keeps))
    return tuple(found)


def _small(policy: Policy, source: ModelSource, update: Update, requirements: tuple[EvasionRequirement, ...]) -> Policy:
    """The policy on few examples and few passes, without what costs more: training data are not searched."""
    most, held = update.reassess.passes, update.held_out or policy.data.test
    examples = min(update.reassess.examples, held.take or update.reassess.examples)

    def fewer(limit: int | None) -> int:
        return most if limit is None else min(limit, most)

    adversaries = {
        name: each.model_copy(
            update={
                "budget": each.budget.model_copy(
                    update={"passes": fewer(each.budget.passes), "queries": fewer(each.budget.queries)}
                )
            }
        )
        for name, each in policy.adversaries.items()
    }
    data = policy.data.model_copy(update={"test": held.model_copy(update={"take": examples}), "train": None})
    return policy.model_copy(
        update={
            "model": source, "data": data, "adversaries": adversaries, "requirements": requirements, "guard": None,
            "update": None,
        }
    )  # fmt: skip
