"""Sub-problems in which every ReLU is on or off: a linear program, whose answer is not believed but checked."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor

from redoubt.bounds.complete.cases import Batch
from redoubt.bounds.network.graph import Graph
from redoubt.bounds.relaxed.crown import Costs, Splits, sweep
from redoubt.bounds.relaxed.interval import ROUNDING, Pair


def settle(
    graph: Graph, one: Batch, before: Mapping[int, Pair], signs: Mapping[int, Tensor], costs: Costs
) -> tuple[bool, Tensor | None]:
    """Rule a linear sub-problem out, or find a point in it.

    The program's solver works with tolerances.  So its dual solution is only taken for multipliers, with which the
    case is bounded as every other is, and its primal solution for a point to try.

    Args:
        graph: frozen.
        one: a case, B = 1, of a box.
        before: bounds on every activation's input that leave none open.
        signs: which of them were assumed, `[1, n]`.
        costs: of rounding.

    Returns:
        Whether no input of the sub-problem meets the case; and else a point of the box where it may be met.
    """
    rows, shifts = _linear(graph, one, len(graph.steps), one.rows[0], before)
    shifts = shifts - one.limits[0].numpy()
    held: list[tuple[int, Tensor]] = []  # the assumptions: which activation, which number
    sides, sides_shift = [], []
    for at, sign in signs.items():
        which = sign[0].nonzero().squeeze(1)
        if not len(which):
            continue
        unit = torch.zeros(len(which), sign.shape[1], dtype=torch.float64)
        unit[torch.arange(len(which)), which] = sign[0, which].double()
        matrix, shift = _linear(graph, one, graph.steps[at - 1].inputs[0], unit, before)
        held.append((at, which))
        sides.append(matrix)
        sides_shift.append(shift)
    size = graph.size
    side = np.concatenate(sides) if sides else np.zeros((0, size))
    side_shift = np.concatenate(sides_shift) if sides else np.zeros(0)
    box = list(zip(one.region.lower[0].tolist(), one.region.upper[0].tolist(), strict=True))
    # Least t with rows x + shifts <= t, and side x + side_shift >= 0.
    solved = _solve(rows, shifts, side, side_shift, box, relaxed=False)
    if solved.status == 0:
        share = -solved.ineqlin.marginals[: len(shifts)]
        push = -solved.ineqlin.marginals[len(shifts) :]
        if _ruled_out(graph, one, before, signs, costs, held, share, push):
            return True, None
        return False, torch.from_numpy(np.asarray(solved.x[:size]))[None]
    # No such x, says the solver: then the assumptions contradict one another, and their multipliers show it.
    solved = _solve(rows, shifts, side, side_shift, box, relaxed=True)
    if solved.status != 0 or not solved.fun > 0:
        return False, None
    weights = -solved.ineqlin.marginals[len(shifts) :]
    share = np.full(len(shifts), 1.0 / len(shifts))
    scale = 1e3 * (1 + float(np.abs(rows).sum() + np.abs(shifts).sum())) / float(solved.fun)
    return _ruled_out(graph, one, before, signs, costs, held, share, weights * scale), None


def _linear(
    graph: Graph, one: Batch, value: int, a: Tensor, before: Mapping[int, Pair]
) -> tuple[np.ndarray, np.ndarray]:
    """a·v as matrix and shift of the input, where no activation before v is open."""
    swept = sweep(graph, one.region, value, a[None], before)
    shift = swept.bound - one.region.least(swept.on_input)
    return swept.on_input[0].numpy(), shift[0].numpy()


def _solve(
    rows: np.ndarray,
    shifts: np.ndarray,
    side: np.ndarray,
    side_shift: np.ndarray,
    box: list[tuple[float, float]],
    *,
    relaxed: bool,
) -> Any:
    """The program over (x, t).  Relaxed, t is how far the assumptions must give way, and the case does not matter."""
    t_rows, t_side = (0.0, -1.0) if relaxed else (-1.0, 0.0)
    upper = np.concatenate(
        [
            np.concatenate([rows * (0.0 if relaxed else 1.0), np.full((len(rows), 1), t_rows)], axis=1),
            np.concatenate([-side, np.full((len(side), 1), t_side)], axis=1),
        ]
    )
    limits = np.concatenate([np.zeros(len(rows)) if relaxed else -shifts, side_shift])
    goal = np.zeros(upper.shape[1])
    goal[-1] = 1.0
    return linprog(goal, A_ub=upper, b_ub=limits, bounds=[*box, (None, None)], method="highs")


def _ruled_out(
    graph: Graph,
    one: Batch,
    before: Mapping[int, Pair],
    signs: Mapping[int, Tensor],
    costs: Costs,
    held: list[tuple[int, Tensor]],
    share: np.ndarray,
    push: np.ndarray,
) -> bool:
    weights = torch.from_numpy(np.asarray(share)).clamp_min(0)
    a = (weights[:, None] * one.rows[0]).sum(dim=0)
    limit = float(weights @ one.limits[0])
    multipliers, at_row = {}, 0
    for at, which in held:
        dense = torch.zeros(1, 1, signs[at].shape[1], dtype=torch.float64)
        dense[0, 0, which] = torch.from_numpy(np.asarray(push[at_row : at_row + len(which)])).clamp_min(0)
        at_row += len(which)
        multipliers[at] = dense
    splits = Splits({at: signs[at].double() for at, _ in held}, multipliers)
    bound = sweep(graph, one.region, len(graph.steps), a[None, None], before, splits=splits, costs=costs).bound
    # The weighted sum of rows was rounded too.
    size = weights @ (one.rows[0].abs() @ costs.sizes[-1][0] + one.limits[0].abs())
    return bool(bound[0, 0] > limit + (len(weights) + 4) * ROUNDING * float(size))
