"""What every evasion attack owes, as a class to inherit in a test module.

    class TestMine(EvasionConformance):
        attack = MyAttack(steps=20)

Each test plays the attack against a linear classifier whose weak points are known, so an attack that does nothing, or
that only looks busy, does not pass.
"""

import dataclasses
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.models.base import Differentiable, Face
from redoubt.models.meter import AccessDenied, Metered
from redoubt.perturb import LinfBall, PerturbationSet
from redoubt.records import Access, Budget

_PIXELS, _CLASSES = 64, 4


class _Glass(Differentiable):
    """A linear classifier of 8x8 images: class k has the k-th block of 16 pixels bright."""

    def __init__(self) -> None:
        super().__init__(Face((1, 8, 8), 0.0, 1.0, _CLASSES))
        self.weight = torch.eye(_CLASSES).repeat_interleave(_PIXELS // _CLASSES, dim=1)

    def logits(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T

    def digest(self) -> str:
        return "sha256:" + "0" * 64


def _images(count: int) -> tuple[Tensor, Tensor]:
    """Inputs whose true block is brighter than the others by 0.1 per pixel; their labels."""
    rng = Generator().manual_seed(7)
    y = torch.arange(count) % _CLASSES
    x = 0.45 + 0.02 * torch.rand(count, _PIXELS, generator=rng)
    x += 0.1 * torch.eye(_CLASSES)[y].repeat_interleave(_PIXELS // _CLASSES, dim=1)
    return x.view(count, 1, 8, 8), y


class EvasionConformance:
    """Inherit, and set `attack`; set `within` and `share` too for a set of another kind.

    Attributes:
        attack: the attack under test.
        within: a set in which the glass model can be fooled; the default lets a working attack fool every input.
        share: of the inputs, how many the attack must fool.
    """

    attack: ClassVar[EvasionAttack]
    within: ClassVar[PerturbationSet] = LinfBall(0.25, 0.0, 1.0)
    share: ClassVar[float] = 0.9

    def _run(self, count: int = 16, seed: int = 0, budget: Budget | None = None) -> tuple[Tensor, Tensor, Metered]:
        x, y = _images(count)
        before = x.clone()
        budget = budget or Budget()
        handle = Metered(_Glass(), self.attack.needs, budget, count)
        point = self.attack.run(handle, x, y, self.within, budget, Generator().manual_seed(seed))
        assert torch.equal(x, before), "the attack changed its input in place"
        projected = self.within.project(x, point)
        fooled = _Glass().query(self.within.render(x, projected)).labels != y
        return point, fooled, handle

    def test_is_a_frozen_dataclass_with_a_name(self) -> None:
        """Parameters are fields; nothing else is kept."""
        assert dataclasses.is_dataclass(self.attack)
        assert self.attack.__dataclass_params__.frozen
        assert self.attack.name
        assert self.attack.refuses(self.within) is None

    def test_proposes_finite_points_of_the_set(self) -> None:
        """Shape of `start`, finite, and inside to rounding even before the judge projects."""
        point, _, _ = self._run()
        x, _ = _images(16)
        assert point.shape == self.within.start(x).shape
        assert torch.isfinite(point).all()
        assert self.within.contains(x, point).all()

    def test_fools_the_glass_model(self) -> None:
        """It works at all."""
        _, fooled, _ = self._run()
        assert fooled.float().mean() >= self.share

    def test_pays_for_what_it_does(self) -> None:
        """Nobody fools anyone without a pass."""
        _, _, handle = self._run()
        assert (handle.meter.passes > 0).all()

    def test_keeps_every_budget(self) -> None:
        """The meter raises on an overdraft, so returning is the proof; it also spends no more than allowed."""
        for passes in (1, 2, 3, 10, 31):
            _, _, handle = self._run(budget=Budget(passes=passes))
            assert int(handle.meter.passes.max()) <= passes

    def test_same_seed_same_points(self) -> None:
        """All randomness comes from `rng`, and nothing is kept between calls."""
        first, _, _ = self._run(seed=3)
        again, _, _ = self._run(seed=3)
        assert torch.equal(first, again)

    def test_takes_a_batch_of_one(self) -> None:
        """One example is a batch."""
        point, _, _ = self._run(count=1)
        assert len(point) == 1

    def test_is_denied_what_it_may_not_see(self) -> None:
        """An attack that says it needs less than it uses is found out."""
        if self.attack.needs == Access.LABEL:
            return
        x, y = _images(4)
        handle = Metered(_Glass(), Access(self.attack.needs - 1), Budget(), 4)
        try:
            point = self.attack.run(handle, x, y, self.within, Budget(), Generator().manual_seed(0))
        except AccessDenied:
            return
        fooled = _Glass().query(self.within.render(x, self.within.project(x, point))).labels != y
        assert not fooled.all(), "it needs less access than it says"
