"""The check beside every norm requirement: whether its ball is larger than the data allow."""

import torch
from torch import Tensor

from redoubt.assess.plan import Plan
from redoubt.assess.system import System, repeatable
from redoubt.data import Dataset, load_data
from redoubt.games import find_invariance
from redoubt.models.language import LanguageModel
from redoubt.perturb import L1Ball, L2Ball, LinfBall
from redoubt.policy import PolicyFile
from redoubt.records import InvarianceCheck, OtherClass

SHOWN = 3  # pairs kept for the report, per ball

Found = tuple[tuple[InvarianceCheck, ...], dict[str, Tensor]]
"""The checks, and the tensors of what they show."""


def training_data(file: PolicyFile, system: System) -> Dataset | None:
    """The training data that the policy names; None if it names none.

    Raises:
        DataError: they cannot be read, or do not fit the model.
    """
    source = file.policy.data.train
    if source is None:
        return None
    encode = system.model.encode if isinstance(system.model, LanguageModel) else None
    return load_data(source, system.model.face, file.base, lambda *keys: file.place("data", "train", *keys), encode)


def check_invariance(plan: Plan, system: System, train: Dataset | None) -> Found:
    """Look into each norm ball of a requirement; nothing where there are no training data, or of one class only."""
    checks: list[InvarianceCheck] = []
    tensors: dict[str, Tensor] = {}
    if train is None or len(set(train.y.tolist())) < 2:
        return (), tensors
    x, y = system.data.x, system.data.y
    for number, ball in enumerate(plan.within.members):
        if not isinstance(ball, LinfBall | L2Ball | L1Ball):
            continue
        with repeatable(0):
            found = find_invariance(system.model, x, y, train.x, train.y, ball)
        shown = []
        for row in found.kept.nonzero().squeeze(1).tolist()[:SHOWN]:
            key = f"{plan.requirement.id}/invariance-{number}/{row}"
            other = int(found.other[row])
            shown.append(OtherClass(row=row, label=int(y[row]), other=int(train.y[other]), tensor=key))
            tensors[f"{key}/clean"] = x[row].clone()
            tensors[f"{key}/perturbed"] = train.x[other].clone()
        checks.append(
            InvarianceCheck(
                within=str(ball),
                training=train.source,
                digest=train.digest,
                examined=len(y),
                reachable=int(torch.count_nonzero(found.inside)),
                kept=int(torch.count_nonzero(found.kept)),
                shown=tuple(shown),
            )
        )
    return tuple(checks), tensors
