"""Proofs for requirements of certified accuracy: of each example that still stands, whether anything in the set fools.

The examples are those that no strategy brought to a wrong answer.  Each is settled by itself, with a number of
sub-problems and not of seconds as its limit, so that evidence is the same everywhere; what is settled is kept.
"""

from dataclasses import dataclass

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from redoubt.assess.plan import Plan
from redoubt.assess.store import TaskStore
from redoubt.assess.system import System, repeatable
from redoubt.bounds import Effort, Graph, Region, from_model, misclassified, prove, single_error
from redoubt.games.evasion import still_fooled
from redoubt.models.onnx_node import Unsupported
from redoubt.perturb import L1Ball, L2Ball, LinfBall, NormBall, PerturbationSet
from redoubt.policy.explain_evasion import BRANCHES
from redoubt.records import Norm, Proofs, digest

SEARCH = "branch-and-bound"
"""What evidence calls the strategy that found a wrong answer while a proof was looked for."""
_PROVED, _FOOLED, _UNKNOWN = 1, 2, 0
_APART = 1e-3  # of the largest score: how far the graph may be from the model, which computes in float32


@dataclass(frozen=True)
class Broken:
    """A wrong answer that branch and bound found.

    Attributes:
        x: float32 `[*shape]`.
        answer: the model's.
        within: the member of the set that it lies in.
    """

    x: Tensor
    answer: int
    within: PerturbationSet


@dataclass(frozen=True)
class Proven:
    """What came of it.

    Attributes:
        record: for the evidence.
        certified: rows for which it is proved that nothing in the set changes the answer.
        broken: by row.
    """

    record: Proofs
    certified: frozenset[int]
    broken: dict[int, Broken]


def prove_requirement(plan: Plan, system: System, store: TaskStore) -> Proven | None:
    """Settle each example that still stands; None where the requirement asks for no certificates."""
    requirement = plan.requirement
    if requirement.require.measure != "certified_accuracy":
        return None
    branches = requirement.branches or BRANCHES
    fallen = {
        row
        for done in plan.rounds
        for row, fell in zip(done.task.rows, done.result.fooled.tolist(), strict=True)
        if fell
    }
    standing = [row for row in plan.right if row not in fallen]
    try:
        graph = _graph(plan, system)
    except Unsupported as reason:
        told = f"no bounds are known for {reason}"
        record = Proofs(branches=branches, proved=0, fooled=0, unknown=len(standing), parts=0, obstacle=told)
        return Proven(record, frozenset(), {})
    certified: set[int] = set()
    broken: dict[int, Broken] = {}
    parts = 0
    for row in standing:
        answers = []
        for member in plan.within.members:
            answer, spent, x = _settle(graph, system, store, row, member, branches)
            answers.append(answer)
            parts += spent
            if x is not None:
                with torch.no_grad():
                    broken[row] = Broken(x, int(system.model.query(x[None].to(system.device)).labels), member)
                break
        if all(answer == _PROVED for answer in answers):
            certified.add(row)
    unknown = len(standing) - len(certified) - len(broken)
    record = Proofs(branches=branches, proved=len(certified), fooled=len(broken), unknown=unknown, parts=parts)
    return Proven(record, frozenset(certified), broken)


def _graph(plan: Plan, system: System) -> Graph:
    """The model's graph, compared with the model.

    Raises:
        Unsupported: there is none, it computes something else, or the model answers at random or refuses.
    """
    if plan.doubts.unstable > 0:
        raise Unsupported("a model that answers the same input differently from time to time")
    if plan.doubts.refuses:
        raise Unsupported("a model that refuses inputs")
    graph = from_model(system.model).frozen()
    x = system.data.x[:64]
    with torch.no_grad(), repeatable(0):
        scores = system.model.query(x.to(system.device)).scores
        mine = graph(x.double().flatten(1))
    if scores is None:
        raise Unsupported("a model that shows no scores")
    theirs = scores.cpu().double()
    if system.policy.model.outputs == "probabilities":
        mine, theirs = mine.log_softmax(dim=1), theirs.log_softmax(dim=1)
    apart = float((mine - theirs).abs().max() / theirs.abs().max().clamp_min(1e-6))
    if not apart <= _APART:
        raise Unsupported(
            f"a model whose layers, followed one by one, give other scores (by {apart:.2g} of the largest)"
        )
    return graph


def _settle(
    graph: Graph, system: System, store: TaskStore, row: int, member: PerturbationSet, branches: int
) -> tuple[int, int, Tensor | None]:
    """One example in one member of the set: the answer, sub-problems, and a wrongly answered input."""
    key = digest([system.run, "proof", repr(member), row, branches]).removeprefix("sha256:")
    kept = _read(store.get(key))
    if kept is not None:
        return kept
    x, y = system.data.x[row : row + 1], system.data.y[row : row + 1]
    with repeatable(0):
        region = _region(member, x)
        error = single_error(graph, region.lower, region.upper)
        proof = prove(graph, misclassified(region, int(y), system.model.face.classes, error), Effort(branches))
        answer, found = {"proved": _PROVED}.get(proof.answer, _UNKNOWN), None
        if proof.x is not None:
            point = member.project(x, proof.x.reshape(x.shape)).to(system.device)
            if bool(still_fooled(system.model, point, y.to(system.device))):
                answer, found = _FOOLED, point[0].cpu().float()
    tensors = {"answer": torch.tensor([answer]), "parts": torch.tensor([proof.parts])}
    tensors |= {"x": found} if found is not None else {}
    store.put(key, safetensors.torch.save(tensors), 0.0)
    return answer, proof.parts, found


def _read(content: bytes | None) -> tuple[int, int, Tensor | None] | None:
    if content is None:
        return None
    try:
        tensors = safetensors.torch.load(content)
        return int(tensors["answer"]), int(tensors["parts"]), tensors.get("x")
    except (KeyError, ValueError, safetensors.SafetensorError):
        return None


def _region(member: PerturbationSet, x: Tensor) -> Region:
    """The region of one input: all that the judge takes to lie in the ball, rounding included.

    Raises:
        Unsupported: the set is none of these balls.
    """
    if not isinstance(member, NormBall) or not isinstance(member, LinfBall | L2Ball | L1Ball):
        raise Unsupported(f"the set {member}")
    flat = x.double().flatten(1)
    radius = member.allowed(x) * (1 + 1.2e-7 * flat.shape[1])
    lower, upper = (flat - radius).clamp_min(member.low), (flat + radius).clamp_max(member.high)
    if isinstance(member, LinfBall):
        return Region(lower, upper)
    return Region(lower, upper, flat, radius, Norm.L2 if isinstance(member, L2Ball) else Norm.L1)
