"""Training for certificates: the loss of interval bounds (Gowal et al. 2018), warmed up as in Shi et al. 2021."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from redoubt.bounds.network.from_torch import from_torch
from redoubt.bounds.network.graph import Graph
from redoubt.bounds.network.ops import Convolution, Dense, Relu
from redoubt.bounds.relaxed.interval import interval_bounds, interval_path


def worst_logits(network: nn.Module | Graph, lower: Tensor, upper: Tensor, y: Tensor) -> Tensor:
    """The least favourable logits `[B, K]` in the box: the true class's lower bound, the others' upper bounds.

    The last linear layer is not taken into the differences of logits, which is looser and quicker, as in the paper.
    """
    low, high = interval_bounds(network, lower, upper)
    true = F.one_hot(y, low.shape[1]).bool()
    return torch.where(true, low, high)


def ibp_loss(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    radius: float,
    *,
    low: float,
    high: float,
    clean_share: float = 0.0,
    regularise: float = 0.0,
) -> Tensor:
    """Cross-entropy of the worst logits in the Linf ball around each input, mean over the batch.

    An upper bound of the cross-entropy of every point of the ball.  Train with a radius that grows from 0 to its full
    size over the warm-up (see `radius_at`), or the network learns to ignore its input.

    Args:
        module: in evaluation mode as far as batch normalisation goes; its parameters get gradients.
        x: inputs `[B, *shape]` in `[low, high]`.
        y: labels, int64 `[B]`.
        radius: of the ball, cut by the range.
        low: the least value of an input.
        high: the greatest.
        clean_share: weight of the plain cross-entropy, 0..1 (kappa in Gowal et al.).
        regularise: weight of the two regularisers of Shi et al. (section 3.3), which keep boxes from growing through
            the layers and ReLUs from being all on or all off; for the warm-up, 0.5 falling to 0.
    """
    graph = from_torch(module, x.shape[1:]).cast(x.dtype)
    box = ((x - radius).clamp(low, high), (x + radius).clamp(low, high))
    path = interval_path(graph, *box)
    true = F.one_hot(y, graph.outputs).bool()
    loss = F.cross_entropy(torch.where(true, *path[-1]), y)
    if clean_share:
        loss = (1 - clean_share) * loss + clean_share * F.cross_entropy(graph(x.flatten(1)), y)
    return loss + regularise * _tightness(graph, path, (box[1] - box[0]).mean() / 2) if regularise else loss


def _tightness(graph: Graph, path: list[tuple[Tensor, Tensor]], width: Tensor, tolerance: float = 0.5) -> Tensor:
    """The regularisers of Shi et al. 2021: equations 5 and 8."""
    total, layers = path[-1][0].new_zeros(()), 0
    for step in graph.steps:
        if not isinstance(step.op, Relu):
            continue
        low, high = path[step.inputs[0]]
        layers += 1
        grown = ((high - low).mean() / 2).clamp_min(1e-12)
        total = total + F.relu(tolerance - width / grown) / tolerance
        middle, half = (low + high) / 2, (high - low) / 2
        on, off = F.relu(low), F.relu(-high)
        balance = _ratio((on * middle.sign()).sum(), (off).sum())
        spread = _ratio(half[low > 0].square().sum(), half[high < 0].square().sum())
        total = total + (F.relu(tolerance - balance) + F.relu(tolerance - spread)) / tolerance
    return total / max(layers, 1)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """The smaller by the larger, 0..1."""
    return torch.minimum(a, b) / torch.maximum(a, b).clamp_min(1e-12)


def ibp_weights(module: nn.Module, shape: tuple[int, ...]) -> None:
    """Start the weights so that boxes neither grow nor shrink through the layers (Shi et al. 2021, section 3.2).

    Normal numbers of standard deviation sqrt(2 pi) / fan-in, and biases of zero; torch's seed decides.
    """
    for step in from_torch(module, shape).steps:
        if isinstance(step.op, Dense | Convolution) and isinstance(step.op.weight, nn.Parameter):
            fan_in = math.prod(step.op.weight.shape[1:])
            nn.init.normal_(step.op.weight, std=math.sqrt(2 * math.pi) / fan_in)
            if isinstance(step.op.bias, nn.Parameter):
                nn.init.zeros_(step.op.bias)


def radius_at(done: float, start: float, end: float) -> float:
    """The share of the full radius to train with after a share `done` of the training: 0 up to `start`, 1 from `end`.

    Grows smoothly: as a fourth power for the first quarter of the way, then in a straight line (Shi et al. 2021).

    >>> [round(radius_at(t, 0.1, 0.5), 3) for t in (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)]
    [0.0, 0.0, 0.077, 0.385, 1.0, 1.0]
    """
    share = min(max((done - start) / (end - start), 0.0), 1.0)
    bend = 0.25
    slope = 4 * bend**3 / (bend**4 + 4 * bend**3 * (1 - bend))
    early = slope * share**4 / (4 * bend**3)
    return early if share <= bend else slope * bend / 4 + slope * (share - bend)
