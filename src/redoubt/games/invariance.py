"""Whether a ball is so large that it holds inputs of another class: then nobody could be right in all of it.

For each test example a training input of another class is looked for in the ball.  Where one lies there, the label does
not hold throughout the ball: a model that keeps its answer is wrong about the training input (Jacobsen et al. 2019;
Tramer et al. 2020, "Fundamental tradeoffs between invariance and sensitivity to adversarial perturbations").
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from redoubt.models.base import Model
from redoubt.perturb import L1Ball, L2Ball, LinfBall, NormBall

_BLOCK = 8192  # training inputs compared at once
_GROUP = 16  # coordinates whose mean is compared first
_PAIRS = 4096  # compared in full at once
_ANSWERED = 250


@dataclass(frozen=True)
class Invariance:
    """What was found of N test examples.

    Attributes:
        other: int64 `[N]`, a training input of another class: one in the ball, if there is any.
        distance: float `[N]`, how far it lies, in the ball's norm.
        inside: bool `[N]`, whether it lies in the ball.
        moved: float `[N, *shape]`, the example moved towards it as far as the ball allows: that input itself, if
            inside.
        answers: int64 `[N]`, the model's answers to `moved`.
        kept: bool `[N]`: the training input lies inside, and the model answers it with the example's label.
    """

    other: Tensor
    distance: Tensor
    inside: Tensor
    moved: Tensor
    answers: Tensor
    kept: Tensor


def find_invariance(model: Model, x: Tensor, y: Tensor, train_x: Tensor, train_y: Tensor, ball: NormBall) -> Invariance:
    """Look for training inputs of another class in the ball around each example.

    Exact: every pair is compared, or told apart by a bound.  Says nothing of inputs of another class that are in no
    training set, so a ball in which none is found may still be too large; and takes the training labels for the truth.

    Args:
        model: asked about the moved examples, outside any budget.
        x: test inputs `[N, *shape]`.
        y: their labels, int64 `[N]`.
        train_x: training inputs `[M, *shape]`, of more than one class.
        train_y: their labels, int64 `[M]`.
        ball: an Linf, L2 or L1 ball.
    """
    other = others_in(x, y, train_x, train_y, ball)
    target = train_x[other].to(x)
    distance = ball.length(target - x)
    inside = ball.contains(x, target)
    moved = ball.project(x, target)
    answers = torch.cat([model.query(part).labels for part in torch.split(moved, _ANSWERED)]) if len(x) else y
    return Invariance(other, distance, inside, moved, answers, inside & (answers == y))


def others_in(x: Tensor, y: Tensor, train_x: Tensor, train_y: Tensor, ball: NormBall) -> Tensor:
    """For each of N inputs the row of one of M others whose label differs, int64 `[N]`: one in the ball, if any is.

    That is the nearest by Euclidean length, if it lies in the ball; else the nearest in the ball by the ball's own
    norm; where none is in the ball, the nearest by Euclidean length.

    Raises:
        ValueError: a norm that is not known here, or an input for which there is none of another label.
    """
    if type(ball) not in (LinfBall, L2Ball, L1Ball):
        raise ValueError(f"{ball} is no Linf, L2 or L1 ball")
    flat, others = x.flatten(1).float().cpu(), train_x.flatten(1).float().cpu()
    found = torch.full((len(flat),), -1)
    for label in sorted(set(y.tolist())):
        mine = (y == label).nonzero().squeeze(1)
        theirs = (train_y != label).nonzero().squeeze(1)
        if not len(theirs):
            raise ValueError("there is no training input of another class")
        found[mine] = theirs[_nearest(flat[mine], others, theirs)]
        if isinstance(ball, L2Ball):
            continue
        left = mine[~ball.contains(x[mine], train_x[found[mine]].to(x))]
        within = _inside(flat[left], others, theirs, ball)
        found[left] = torch.where(within < 0, found[left], within)
    return found


def _nearest(a: Tensor, others: Tensor, theirs: Tensor) -> Tensor:
    """Index into `theirs` of the row of `others` nearest to each of A rows by Euclidean length, `[A]`."""
    best, found = torch.full((len(a),), torch.inf), torch.zeros(len(a), dtype=torch.int64)
    for at, block in enumerate(torch.split(theirs, _BLOCK)):
        part = others[block]
        # |b|^2 - 2ab, which orders as the distance does; a is close to none of them, so rounding does not matter.
        least, where = (part.square().sum(dim=1) - 2 * a @ part.T).min(dim=1)
        nearer = least < best
        best, found = torch.where(nearer, least, best), torch.where(nearer, where + at * _BLOCK, found)
    return found


def _inside(a: Tensor, others: Tensor, theirs: Tensor, ball: NormBall) -> Tensor:
    """Row of `others`, of those in `theirs`, nearest to each of A rows in an Linf or L1 ball; -1 if none is in it.

    The mean over a group of coordinates differs by no more than the coordinates do, so groups tell quickly which
    pairs are too far apart; the rest, few as a rule, are compared in full.
    """
    found, best = torch.full((len(a),), -1), torch.full((len(a),), torch.inf)
    if not len(a):
        return found
    size = min(_GROUP, a.shape[1])
    mean_a, linf = _means(a, size), isinstance(ball, LinfBall)
    limit = ball.radius * (1 + 1e-4) + 1e-6 if linf else (ball.radius * (1 + 1e-4) + 1e-6) / size
    for block in torch.split(theirs, _BLOCK):
        apart = torch.cdist(mean_a, _means(others[block], size), p=torch.inf if linf else 1.0)
        for pairs in torch.split((apart <= limit).nonzero(), _PAIRS):
            mine, rows = pairs[:, 0], block[pairs[:, 1]]
            lengths = ball.length(others[rows] - a[mine])
            lengths = torch.where(ball.contains(a[mine], others[rows]), lengths, torch.inf)
            best.scatter_reduce_(0, mine, lengths, "amin")
            nearest = lengths.isfinite() & (lengths <= best[mine])
            found[mine[nearest]] = rows[nearest]
    return found


def _means(rows: Tensor, size: int) -> Tensor:
    """Means over groups of `size` coordinates, `[A, groups]`; the last group is filled up with zeros."""
    padded = torch.nn.functional.pad(rows, (0, -rows.shape[1] % size))
    return padded.view(len(rows), -1, size).mean(dim=2)
