"""Which parts of a model break gradients: found by probing, in a few passes of a few examples.

Each gap between two neighbouring sites of a forward pass (`models/sites.py`) is held to its own promise: move what goes
in as an attack would, and see whether what comes out moves as the vector-Jacobian product says.

Does not see: a break on one of several parallel branches other than the last; a part that is random by another
generator than torch's, whose moves cannot be told from noise.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from redoubt.models.meter import Metered
from redoubt.models.rewire import Trace
from redoubt.models.sites import Edit, Site

_SEED = 1729  # of the model's own randomness, the same in passes that are compared
_MOVE = 0.5  # of the way from one random point of the set to another: how far attacks move in a few steps
_SMALL = 0.1  # of that move: where a continuous part moves a tenth as far, one with jumps further
_KEEPS = 0.3  # of the move promised by the gradient, in the median: less is a gradient that misleads
_EXCEEDS = 5.0
_JUMPS = 1.6  # times the square of the move that a continuous part makes
_NOTHING = 1e-7  # of a tensor's size: rounding
_BEFORE = 40  # sites looked at for a way into a gap


class Flaw(enum.StrEnum):
    """What is wrong with the gradient of a part, or with its answer."""

    ABSENT = "absent"
    VANISHING = "vanishing"
    NOT_A_NUMBER = "not a number"
    MISLEADING = "misleading"
    JUMPING = "jumping"
    RANDOM = "random"


@dataclass(frozen=True)
class Gap:
    """A part of a model that breaks gradients, or draws at random.

    Attributes:
        sources: where its tensors come from; the nearest first.
        target: what it computes.
        part: its name: a submodule's, or the sites that it lies between.
        flaw: what is wrong with it.
        shapes: of one row, of each source.
        shape: of one row of the target.
    """

    sources: tuple[Site, ...]
    target: Site
    part: str
    flaw: Flaw
    shapes: tuple[tuple[int, ...], ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Parts:
    """What was found.

    Attributes:
        gaps: those with a broken gradient, in the order of the forward pass.
        random: those that draw at random.
        sites: all sites, in order, with the shape of one row.
    """

    gaps: tuple[Gap, ...]
    random: tuple[Gap, ...]
    sites: dict[Site, tuple[int, ...]]

    def __or__(self, other: "Parts") -> "Parts":
        """With the gaps that another probe, between inputs far apart, found no gradient in besides.

        What bends far apart may be straight nearby, so its other findings are not taken.
        """
        known = {gap.target for gap in self.gaps}
        none = (Flaw.ABSENT, Flaw.VANISHING, Flaw.NOT_A_NUMBER)
        more = tuple(gap for gap in other.gaps if gap.target not in known and gap.flaw in none)
        random = self.random or other.random
        order = list(self.sites)
        gaps = sorted(
            (*self.gaps, *more), key=lambda gap: order.index(gap.target) if gap.target in order else len(order)
        )
        return Parts(tuple(gaps), random, self.sites)

    def __and__(self, other: "Parts") -> "Parts":
        """With those jumps alone that another probe saw too: of few examples, a part that bends may seem to jump."""
        again = {gap.target for gap in other.gaps}
        gaps = tuple(gap for gap in self.gaps if gap.flaw is not Flaw.JUMPING or gap.target in again)
        return replace(self, gaps=gaps)


def find_parts(model: Metered, start: Tensor, end: Tensor) -> Parts:
    """Probe a model's parts.

    Costs 4 forward passes and a backward pass, a forward pass for each gap that seems broken, and up to `_BEFORE`
    more for one that nothing leads into.

    Args:
        model: the handle for exactly these examples.
        start: an input `[B, *shape]` of each example's set.
        end: another.
    """
    halfway = start + _MOVE * (end - start)
    with torch.no_grad():
        drawn = model.trace(start, seed=_SEED + 1).seen
    with torch.enable_grad():  # each site a leaf if nothing leads to it, so that gaps after a break can be judged too
        here = model.trace(start.detach().requires_grad_(), dict.fromkeys(drawn, _as_leaf), seed=_SEED)
    with torch.no_grad():
        there = model.trace(halfway, seed=_SEED).seen
        near = model.trace(start + _SMALL * (halfway - start), seed=_SEED).seen
    sites = [site for site in here.seen if site in there and site in near and site in drawn]
    sites = [site for site in sites if there[site].shape == here.seen[site].shape]
    values = {site: here.seen[site] for site in sites}
    moves = {site: there[site] - values[site].detach() for site in sites}
    small = {site: near[site] - values[site].detach() for site in sites}
    gaps: list[Gap] = []
    random: list[Gap] = []

    def gap(sources: Sequence[Site], target: Site, flaw: Flaw) -> Gap:
        shapes = tuple(tuple(values[source].shape[1:]) for source in sources)
        shape = tuple(values[target].shape[1:])
        return Gap(tuple(sources), target, _name(sources[0], target, here), flaw, shapes, shape)

    was_random = False
    for source, target in pairwise(sites):
        other = drawn[target]
        is_random = other.shape != values[target].shape or _moved(other - values[target], values[target])
        if is_random and not was_random:
            random.append(gap((source,), target, Flaw.RANDOM))
        was_random = is_random
        if not _moved(moves[target], values[target]):
            continue
        flaw = _flaw(values[source], values[target], moves[source], moves[target])
        jumps = _jumps(moves[source], small[source], moves[target], small[target])
        if flaw is None and not jumps:
            continue
        # Neighbours in time need not follow from one another: move the source alone.
        with torch.no_grad():
            seen = model.trace(start, {source: _add(moves[source])}, seed=_SEED).seen
        alone = seen[target] - values[target].detach() if target in seen else torch.zeros_like(moves[target])
        if _moved(alone, values[target]):
            flaw = _flaw(values[source], values[target], moves[source], alone)
            if flaw is not None or jumps:
                sources = _leading(model, start, sites, values, moves, target) if flaw is Flaw.ABSENT else (source,)
                gaps.append(gap(sources, target, flaw or Flaw.JUMPING))
        elif (
            flaw is Flaw.ABSENT
            and not _has_parent(values, sites, target)
            and (sources := _leading(model, start, sites, values, moves, target))
        ):
            gaps.append(gap(sources, target, Flaw.ABSENT))
    return Parts(tuple(gaps), tuple(random), {site: tuple(values[site].shape[1:]) for site in sites})


def _as_leaf(value: Tensor) -> Tensor:
    # A copy, since layers that work in place may not touch a leaf.
    return value if value.requires_grad else value.detach().requires_grad_().clone()


def _name(source: Site, target: Site, seen: Trace) -> str:
    """A submodule, if the gap is what one does with its input; else where it lies."""
    entry = Site(target.module, target.call, "in")
    if target.side == "out" and source in (entry, seen.same.get(entry)):
        return target.module or "the whole model"
    return f"between {source} and {target}"


def _moved(move: Tensor, value: Tensor) -> bool:
    """NaN counts as moved."""
    return not bool((move.abs().amax() <= _NOTHING * value.detach().abs().amax()).all())


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).reshape(len(one), -1).sum(dim=1)


def _pull(target: Tensor, source: Tensor, direction: Tensor) -> Tensor | None:
    """Vector-Jacobian product; None where autograd knows of no way from source to target."""
    if not target.requires_grad or not source.requires_grad:
        return None
    (found,) = torch.autograd.grad(target, source, direction, retain_graph=True, allow_unused=True)
    return found


def _flaw(source: Tensor, target: Tensor, move: Tensor, moved: Tensor) -> Flaw | None:
    """What the gradient says of a move that was made; None if it is about right."""
    length = moved.reshape(len(moved), -1).norm(dim=1)
    rows = length > 0
    direction = moved / length.clamp_min(1e-30).view(-1, *[1] * (moved.dim() - 1))
    found = _pull(target, source, direction)
    if found is None:
        return Flaw.ABSENT
    if not bool(found.isfinite().all()):
        return Flaw.NOT_A_NUMBER
    if not bool(found[rows].any()):
        return Flaw.VANISHING
    kept = (_dot(found, move)[rows] / length[rows]).median()
    return None if _KEEPS <= float(kept) <= _EXCEEDS else Flaw.MISLEADING


def _jumps(source: Tensor, source_near: Tensor, target: Tensor, target_near: Tensor) -> bool:
    """Whether a small move goes further, for its size, than a large one, and did not do so before the part."""

    def excess(move: Tensor, near: Tensor) -> float:
        return float(near.square().sum() / (move.square().sum() * _SMALL**2).clamp_min(1e-30))

    return excess(target, target_near) > _JUMPS * max(excess(source, source_near), 1.0)


def _has_parent(values: Mapping[Site, Tensor], sites: Sequence[Site], target: Site) -> bool:
    """Whether gradients, other than zero, reach the target from any site before it."""
    before = [values[site] for site in sites[: sites.index(target)] if values[site].requires_grad]
    value = values[target]
    if not value.requires_grad or not before:
        return False
    found = torch.autograd.grad(value.sum(), before, retain_graph=True, allow_unused=True)
    return any(one is not None and bool(one.any()) for one in found)


def _leading(
    model: Metered,
    start: Tensor,
    sites: Sequence[Site],
    values: Mapping[Site, Tensor],
    moves: Mapping[Site, Tensor],
    target: Site,
) -> tuple[Site, ...]:
    """The sites that the target is computed from, nearest first: those that move it while all nearer ones are held."""
    at = sites.index(target)
    found: list[Site] = []
    for source in reversed(sites[max(at - _BEFORE, 0) : at]):
        edits = {site: _hold(values[site]) for site in found} | {source: _add(moves[source])}
        with torch.no_grad():
            seen = model.trace(start, edits, seed=_SEED).seen
        if target in seen and _moved(seen[target] - values[target].detach(), values[target]):
            found.append(source)
    return tuple(found)


def _add(move: Tensor) -> Edit:
    return lambda value: value + move


def _hold(value: Tensor) -> Edit:
    return lambda _: value.detach()
