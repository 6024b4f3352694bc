"""A model whose answers are its own and some of whose gradients are somebody else's (BPDA, Athalye et al. 2018)."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from redoubt.models.base import Differentiable, Scored
from redoubt.models.sites import Edit, Listener, Site, listening


@dataclass(frozen=True)
class Bridge:
    """A way for gradients around a gap.

    Attributes:
        sources: where gradients arrive.
        target: the site whose own way back is closed; its value stays as it is.
        through: source tensors to a tensor of the target's shape, differentiable.
    """

    sources: tuple[Site, ...]
    target: Site
    through: Callable[..., Tensor]


class _Instead(torch.autograd.Function):
    """The first tensor forwards, to the bit; the second backwards."""

    @staticmethod
    def forward(_ctx: Any, value: Tensor, _other: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, gradients[0]


class Rewired(Differentiable):
    """The same model with bridges, and with some sites shown beside its scores.

    Args:
        model: computes the values.  One that is no torch module has no sites.
        bridges: see `Bridge`.
        watch: sites that `scored` returns in `seen`.
    """

    def __init__(self, model: Differentiable, bridges: Sequence[Bridge] = (), watch: Sequence[Site] = ()) -> None:
        super().__init__(model.face)
        self._model, self._bridges, self._watch = model, tuple(bridges), tuple(watch)

    @property
    def module(self) -> nn.Module | None:
        return self._model.module

    def logits(self, x: Tensor) -> Tensor:
        return self.scored(x).logits

    def scored(self, x: Tensor) -> Scored:
        passed: list[Listener] = []  # the pass that is under way
        edits: dict[Site, Edit] = {bridge.target: partial(self._over, bridge, passed) for bridge in self._bridges}
        with _heard(self._model, len(x), edits) as heard:
            passed.append(heard)
            scored = self._model.scored(x)
        return scored._replace(seen={site: heard.seen[site] for site in self._watch if site in heard.seen})

    @staticmethod
    def _over(bridge: Bridge, passed: list[Listener], value: Tensor) -> Tensor:
        seen = passed[0].seen
        if any(source not in seen for source in bridge.sources):
            return value  # the pass took another way this time
        other: Tensor = bridge.through(*(seen[source] for source in bridge.sources))
        return _Instead.apply(value.detach(), other.to(value.dtype))  # type: ignore[no-any-return, no-untyped-call]

    def digest(self) -> str:
        return self._model.digest()


@contextlib.contextmanager
def _heard(model: Differentiable, rows: int, edits: Mapping[Site, Edit]) -> Iterator[Listener]:
    if model.module is None:
        yield Listener(rows, {})
        return
    with listening(model.module, rows, edits) as listener:
        yield listener


@dataclass(frozen=True)
class Trace:
    """One forward pass, laid open.

    Attributes:
        scored: what came out.
        seen: the sites, in the order they were computed.
        same: further sites of the same tensors, and where they were first seen.
    """

    scored: Scored
    seen: Mapping[Site, Tensor]
    same: Mapping[Site, Site]


def trace(model: Differentiable, x: Tensor, edits: Mapping[Site, Edit], seed: int | None) -> Trace:
    """Lay a forward pass open; under autograd, if it is enabled.

    Args:
        model: the model.
        x: inputs `[B, *face.shape]`.
        edits: what to exchange on the way.
        seed: of torch's random numbers during this pass, if they are to be the same as in another.
    """
    with contextlib.ExitStack() as stack:
        if seed is not None:
            stack.enter_context(torch.random.fork_rng(devices=[]))
            torch.manual_seed(seed)
        heard = stack.enter_context(_heard(model, len(x), edits))
        scored = model.scored(x)
    return Trace(scored, heard.seen, heard.same)
