"""Interval-bound training (Gowal et al. 2018): lower a bound of the loss that covers the whole Linf ball.

It gives less accuracy under attack than adversarial training, and answers that can be proved.  Does not cover other
sets than Linf balls, nor networks with operators that `bounds` does not know: they are refused by name.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from redoubt.bounds import ibp_loss, ibp_weights, radius_at, worst_logits
from redoubt.data import Dataset
from redoubt.harden.count import Count
from redoubt.perturb import LinfBall, PerturbationSet
from redoubt.records import PolicyError, Recipe

_REGULARISE = 0.5  # weight of the regularisers of Shi et al. 2021 at the beginning; falls to nought over the warm-up
_CHUNK = 500


def ball_of(within: PerturbationSet) -> LinfBall:
    """The set, if intervals can cover it.

    Raises:
        PolicyError: it is no Linf ball.
    """
    if not isinstance(within, LinfBall):
        raise PolicyError(
            f"loss: interval-bounds covers Linf balls only, and the set is {within}",
            remedy="train against a requirement with norm: linf, or write another loss under harden",
        )
    return within


def at(ball: LinfBall, recipe: Recipe, done: float) -> tuple[LinfBall, float]:
    """The ball when a share `done` of all training is done, and the weight of the regularisers there.

    The first epoch is plain; then the radius grows smoothly until the warm-up ends.
    """
    start, end = 1 / recipe.epochs, (recipe.warmup + 1) / recipe.epochs
    grown = radius_at(done, start, end) if end > start else 1.0
    return replace(ball, radius=ball.radius * recipe.radius * grown), _REGULARISE * (1 - grown)


def interval_loss(
    module: nn.Module, x: Tensor, y: Tensor, ball: LinfBall, recipe: Recipe, regularise: float, count: Count
) -> Tensor:
    """Mean loss of the worst logits in the ball; both ends of an interval count as a pass."""
    for _ in range(2 + (recipe.clean_share > 0)):
        count.forward(len(x))
        count.backward(len(x))
    return ibp_loss(
        module,
        x,
        y,
        ball.radius,
        low=ball.low,
        high=ball.high,
        clean_share=recipe.clean_share,
        regularise=regularise,
    )


def begin_small(module: nn.Module, shape: tuple[int, ...], seed: int) -> None:
    """Weights with which intervals neither grow nor shrink, for a training from scratch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ibp_weights(module, shape)


def certified(module: nn.Module, data: Dataset, ball: LinfBall, device: torch.device) -> float:
    """Share of the examples for which interval bounds prove the right answer all over the ball."""
    right = 0
    with torch.no_grad():
        for x, y in zip(torch.split(data.x, _CHUNK), torch.split(data.y, _CHUNK), strict=True):
            there, labels = x.to(device), y.to(device)
            low, high = ((there + way * ball.radius).clamp(ball.low, ball.high) for way in (-1, 1))
            right += int((worst_logits(module, low, high, labels).argmax(dim=1) == labels).sum())
    return right / len(data)
