"""Backward passes in which rectified units that are off let a share of the gradient through."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

SHARE = 0.1  # what the attacks let through: chosen on training images of a plain and a hardened network for MNIST

_RECTIFIERS: Mapping[Callable[..., Any], bool] = {  # and whether they overwrite what they are given
    F.relu: False,
    torch.relu: False,
    torch.relu_: True,
    Tensor.relu: False,
    Tensor.relu_: True,
}


class Leak(TorchFunctionMode):
    """Inside it, a rectifier's slope is `share` where it is 0; what it computes stays.

    A network trained to withstand large steps of every pixel learns thresholds that small values do not pass, and
    behind units that are off the gradient of most pixels is zero: it says what stops, not what would start.  With a
    leak it says both, at the cost of the same passes.  Backward passes of this kind are known from making examples
    transferable (LinBP, Guo et al. 2020) and from BPDA (Athalye et al. 2018).

    Reaches calls of torch's own `relu` from Python while it is active, so neither compiled or scripted modules nor
    other activations: there the gradient is the true one.

    >>> x = torch.tensor([-2.0, 3.0], requires_grad=True)
    >>> with Leak(0.1):
    ...     F.relu(x).sum().backward()
    >>> x.grad
    tensor([0.1000, 1.0000])
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func in _RECTIFIERS and args and args[0].requires_grad:
            in_place = _RECTIFIERS[func] or bool(given.get("inplace", args[1] if len(args) > 1 else False))
            return _LeakyBackward.apply(args[0], self._share, in_place)  # type: ignore[no-untyped-call]
        return func(*args, **given)


class _LeakyBackward(torch.autograd.Function):
    """`relu`, whose derivative is `share` instead of 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, share: float, in_place: bool) -> Tensor:
        ctx.share = share
        if in_place:
            ctx.mark_dirty(x)
        out = x.relu_() if in_place else x.relu()
        ctx.save_for_backward(out)  # which the next layer keeps anyway
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (out,) = ctx.saved_tensors
        (gradient,) = gradients
        return torch.ops.aten.leaky_relu_backward(gradient, out, ctx.share, False), None, None
