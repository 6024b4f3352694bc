"""Gradient ascent in an Linf ball, in plain torch: the authors' evaluations and the attacks by hand."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gallery.defence import Aim, Loss

_AGAIN = 4  # draws by which a point that fooled a random defence must show that it does so mostly


def answer(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Labels int64 `[B]`, and whether each input was refused, bool `[B]`."""
    with torch.no_grad():
        found = module(x)
    logits, suspicion = found if isinstance(found, tuple) else (found, torch.zeros(len(x)))
    return logits.argmax(dim=1), suspicion > 0


def fooled(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Bool `[B]`: answered wrongly and not refused."""
    labels, refused = answer(module, x)
    return (labels != y) & ~refused


def ascend(aim: Aim, defended: nn.Module, plain: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
    """Steps along the sign of the gradient, in turn from each start.

    An attack that is not oblivious asks the defence on its way, keeps for each image the point that fooled it most
    often out of a few draws, and goes on with the images that no point fooled in every draw.

    Returns:
        Perturbed images `[B, 1, 28, 28]`, within `radius` and 0..1.
    """
    loss = aim.loss(defended, plain)
    best, score = x.clone(), torch.zeros(len(x))
    for restart in range(aim.restarts):
        left = (score < 1).nonzero()[:, 0]
        at_image = aim.least or (aim.steps == 1 and restart == 0)
        point = x[left] if at_image else (x[left] + radius * (2 * torch.rand_like(x[left]) - 1)).clamp(0, 1)
        for step in range(aim.steps):
            if not len(left):
                return best
            length = radius if aim.steps == 1 else radius * aim.fine * (1 - step / aim.steps / 2)
            values, gradients = zip(*(_slope(loss, point, y[left]) for _ in range(aim.samples)), strict=True)
            move = point + length * sum(gradients).sign() - x[left]
            there = (x[left] + move.clamp(-radius, radius)).clamp(0, 1)
            point = torch.where((values[0] > 0)[:, None, None, None], point, there) if aim.least else there
            if not aim.oblivious:
                won = fooled(defended, point, y[left])
                share = _share(defended, point[won], y[left[won]])
                better = share > score[left[won]]
                rows = left[won][better]
                best[rows], score[rows] = point[won][better], share[better]
                left, point = left[score[left] < 1], point[score[left] < 1]
        if aim.oblivious:
            best = point
    return best


def _slope(loss: Loss, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and gradient; zero where there is none."""
    leaf = x.detach().requires_grad_()
    value = loss(leaf, y)
    if not value.requires_grad:
        return value, torch.zeros_like(x)
    (gradient,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True)
    return value.detach(), torch.zeros_like(x) if gradient is None else gradient.nan_to_num(0, 0, 0)


def _share(defended: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Out of a few draws, how often each point fools the defence, `[B]` in 0..1."""
    if not len(x):
        return torch.zeros(0)
    return torch.stack([fooled(defended, x, y) for _ in range(_AGAIN)]).float().mean(dim=0)


# ── losses ───────────────────────────────────────────────────────────────────────────────────────────────────────


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """The best wrong logit less the right one, `[B]`."""
    wrong = logits.scatter(1, y[:, None], -torch.inf).amax(dim=1)
    return wrong - logits.gather(1, y[:, None])[:, 0]


def cross_entropy(module: Callable[[Tensor], Tensor | tuple[Tensor, Tensor]]) -> Loss:
    """Cross-entropy of the module's logits, as papers use it."""

    def loss(x: Tensor, y: Tensor) -> Tensor:
        found = module(x)
        return F.cross_entropy(found[0] if isinstance(found, tuple) else found, y, reduction="none")

    return loss


def margins(module: Callable[[Tensor], Tensor]) -> Loss:
    """The margin of the module's logits."""
    return lambda x, y: margin(module(x), y)


def unseen(module: Callable[[Tensor], tuple[Tensor, Tensor]], beyond: float = 1.0) -> Loss:
    """First wrong by `beyond`, then less suspicious (Bryniarski et al. 2021, selective ascent)."""

    def loss(x: Tensor, y: Tensor) -> Tensor:
        logits, suspicion = module(x)
        gap = margin(logits, y)
        return torch.where(gap < beyond, gap, -suspicion)

    return loss


def both(module: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Loss:
    """Wrong by up to 1 and unsuspected at once, in one sum (Carlini and Wagner 2017)."""

    def loss(x: Tensor, y: Tensor) -> Tensor:
        logits, suspicion = module(x)
        return margin(logits, y).clamp(max=1.0) - (suspicion + 0.1).clamp(min=0.0)

    return loss


def straight(part: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The part forwards, the identity backwards (BPDA, Athalye et al. 2018)."""
    return lambda x: x + (part(x) - x).detach()


LEAST = Aim("least perturbation on the undefended network", lambda _, plain: margins(plain), fine=0.05, least=True)
UNDEFENDED = Aim("PGD-40 on the undefended network", lambda _, plain: cross_entropy(plain))
THROUGH = Aim("PGD-40 through the defence", lambda defended, _: cross_entropy(defended))
