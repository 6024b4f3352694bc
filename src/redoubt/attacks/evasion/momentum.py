"""Momentum for gradients that chance blurs."""

from torch import Tensor


def blended(before: Tensor | None, gradient: Tensor, decay: float = 0.9) -> Tensor:
    """The gradients so far, each scaled to a mean magnitude of 1 per row (Dong et al. 2018, eq. 6).

    Args:
        before: the sum until now `[B, ...]`; None at the first step.
        gradient: `[B, ...]`, finite.
        decay: of the sum, per step.
    """
    size = gradient.flatten(1).abs().mean(dim=1).clamp_min(1e-30).view(-1, *[1] * (gradient.dim() - 1))
    return gradient / size if before is None else decay * before + gradient / size
