"""DP-SGD of a linear model on fixed features: the clipped gradient in closed form, no gradient per record ever built.

For softmax regression with weights `W` and bias `b`, the gradient of the loss at record i is `(p_i - e_y) [x_i,
1]^T`: of rank one.  So its norm is a product, `||g_i||^2 = ||p_i - e_y||^2 (||x_i||^2 + 1)`, and the sum of the
clipped gradients is one matrix product of the scaled residuals and the features (Goodfellow 2015 for the norms;
Tramer and Boneh 2021 for what linear models on fixed features are worth).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from redoubt.bounds.privacy.events import EVERYONE, PoissonGaussian
from redoubt.harden.private.plan import Plan
from redoubt.harden.private.randomness import PrivateRandom, random_of
from redoubt.harden.private.sampling import Poisson, Sampler, must_be_poisson, must_match
from redoubt.records import DataError

_BLOCK = 256  # rows at a time: small enough to stay in the processor's cache between the two matrix products


@dataclass(frozen=True)
class PrivateLinear:
    """A linear model, and what its training cost.

    Attributes:
        weight: float32 `[K, D]`.
        bias: float32 `[K]`.
        events: for the ledger.
    """

    weight: Tensor
    bias: Tensor
    events: tuple[PoissonGaussian, ...]

    def logits(self, x: Tensor) -> Tensor:
        """Features `[B, ...]`, D values each, to logits `[B, K]`."""
        return torch.addmm(self.bias, x.flatten(1), self.weight.T)

    def accuracy(self, x: Tensor, y: Tensor) -> float:
        """Share of rows answered rightly."""
        blocks = zip(torch.split(x, _BLOCK), torch.split(y, _BLOCK), strict=True)
        return sum(int((self.logits(rows).argmax(1) == labels).sum()) for rows, labels in blocks) / len(y)


def train_linear(
    x: Tensor,
    y: Tensor,
    classes: int,
    plan: Plan,
    *,
    sampler: Sampler | None = None,
    on: str = EVERYONE,
    heard: Callable[[int, Tensor, Tensor], None] | None = None,
    insecure_seed: int | None = None,
) -> PrivateLinear:
    """Train softmax regression by DP-SGD, from weights of zero.

    Args:
        x: features, float32 `[N, ...]`, flattened to D values each; fixed, or learnt without these records.
        y: labels, int64 `[N]`, in 0..classes-1.
        classes: K.
        plan: the mechanism, and the course.
        sampler: where batches come from; Poisson sampling at the plan's rate if it is left out.
        on: the group of records that `x` holds.
        heard: called after each step with its number and the weights and bias, which it must not change.
        insecure_seed: repeats a run exactly, **for tests and benches**: whoever knows it can take the noise off.

    Raises:
        PolicyError: the sampler does not draw as the accountant counts on.
        DataError: `x` and `y` do not belong together, are empty or not finite.
        Fault: the sampler did not do what it says.
    """
    sampler = Poisson(plan.rate) if sampler is None else sampler
    must_match(sampler, plan.rate)
    features = x.flatten(1)
    _check(features, y, classes)
    random = random_of(insecure_seed)
    squares = torch.cat([rows.square().sum(1) for rows in torch.split(features, _BLOCK)])
    state = torch.zeros(2, classes, features.shape[1] + 1)  # weights and momentum; the bias is the last column
    average, averaged = torch.zeros_like(state[0]), 0
    sizes = []
    for step, rows in enumerate(sampler.batches(len(y), plan.steps, random), start=1):
        sizes.append(len(rows))
        gradient = clipped_sum(state[0], features, y, squares, rows, plan.clip)
        add_noise(gradient, plan.noise_multiplier * plan.clip, random)
        state[1].mul_(plan.momentum).add_(gradient, alpha=1 / (plan.rate * len(y)))
        state[0].sub_(state[1], alpha=plan.learning_rate)
        if step > plan.steps * (1 - plan.average):
            averaged += 1
            average.add_(state[0] - average, alpha=1 / averaged)
        if heard is not None:
            heard(step, state[0, :, :-1], state[0, :, -1])
    must_be_poisson(sizes, len(y), plan.rate)
    final = average if averaged else state[0]
    return PrivateLinear(final[:, :-1].clone(), final[:, -1].clone(), (plan.event(on, "linear model, DP-SGD"),))


def clipped_sum(parameters: Tensor, x: Tensor, y: Tensor, squares: Tensor, rows: Tensor, clip: float) -> Tensor:
    """The sum over `rows` of the gradients, each scaled down to norm `clip` at most; `[K, D + 1]`.

    Args:
        parameters: `[K, D + 1]`, the bias last.
        x: features `[N, D]`.
        y: labels `[N]`.
        squares: `||x_i||^2`, `[N]`.
        rows: int64 `[B]`.
        clip: C.
    """
    total = torch.zeros_like(parameters)
    weight, bias = parameters[:, :-1].contiguous(), parameters[:, -1:]
    room = x.new_empty(min(_BLOCK, len(rows)), x.shape[1])
    for block in torch.split(rows, _BLOCK):
        given = torch.index_select(x, 0, block, out=room[: len(block)])
        # Classes down, records across: this product of a few rows and many takes half the time of its transpose.
        residual = torch.addmm(bias, weight, given.T).softmax(0)
        residual[y[block], torch.arange(len(block))] -= 1
        residual.nan_to_num_()  # logits beyond all floats: the record counts for nothing, rather than for everything
        norm = (residual.square().sum(0) * (squares[block] + 1)).sqrt()
        residual *= (clip / norm).clamp(max=1)  # a norm of 0 gives infinity, and so 1
        total[:, :-1].addmm_(residual, given)
        total[:, -1] += residual.sum(1)
    return total


def add_noise(gradient: Tensor, deviation: float, random: PrivateRandom) -> None:
    """Add Gaussian noise of this standard deviation to every coordinate, in place."""
    noise = random.gaussians(gradient.numel()).view_as(gradient)
    gradient.add_(noise.to(gradient.dtype), alpha=deviation)


def _check(x: Tensor, y: Tensor, classes: int) -> None:
    if not len(y) or len(x) != len(y):
        raise DataError(f"{len(x)} rows of features and {len(y)} labels", remedy="give one label for each row")
    if x.dtype != torch.float32 or y.dtype != torch.int64:
        raise DataError(f"features are {x.dtype}, labels {y.dtype}", remedy="give float32 and int64")
    if int(y.min()) < 0 or int(y.max()) >= classes:
        raise DataError(f"labels run from {int(y.min())} to {int(y.max())}", remedy=f"give labels 0 to {classes - 1}")
    if not all(bool(rows.isfinite().all()) for rows in torch.split(x, _BLOCK)):
        raise DataError("a feature is not finite: its gradient has no norm to clip", remedy="repair the features")
