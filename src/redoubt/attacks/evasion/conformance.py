"""What every evasion attack owes, as a class to inherit in a test module.

    class TestMine(EvasionConformance):
        attack = MyAttack(steps=20)

Each test plays the attack against a linear classifier whose weak points are known, so an attack that does nothing, or
that only looks busy, does not pass.
"""

import dataclasses
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.glass import Glass
from redoubt.models.base import Model
from redoubt.models.meter import AccessDenied, Metered
from redoubt.perturb import LinfBall, NormBall, PerturbationSet, Then, Union
from redoubt.records import Access, Budget


def stretched(within: PerturbationSet, low: float, high: float) -> PerturbationSet:
    """A set that was made for the range 0..1, for inputs stretched to another range.

    Balls grow as their norm does when a move is stretched; of other sets, `low`, `high` and `fill` are set.
    """
    if isinstance(within, Union):
        return Union(tuple(stretched(part, low, high) for part in within.parts))
    if isinstance(within, Then):
        return Then(stretched(within.first, low, high), _ball_stretched(within.second, low, high))
    if isinstance(within, NormBall):
        return _ball_stretched(within, low, high)
    ends = {"low": low, "high": high, "fill": low}
    mine = {name: value for name, value in ends.items() if hasattr(within, name)}
    return dataclasses.replace(within, **mine)  # type: ignore[type-var]  # every set is a dataclass


def _ball_stretched(ball: NormBall, low: float, high: float) -> NormBall:
    one = torch.ones(1, 1)
    radius = ball.radius * float(ball.length((high - low) * one) / ball.length(one))
    return dataclasses.replace(ball, radius=radius, low=low, high=high)


def judged(model: Model, x: Tensor, y: Tensor, within: PerturbationSet, point: Tensor) -> Tensor:
    """Bool `[B]`: which points fool the model, in as many outcomes as the set asks for."""
    vote, nature = within.vote, Generator().manual_seed(99)
    wrong = torch.zeros_like(y)
    for _ in range(vote.draws):
        wrong += model.query(within.draw(x, point, nature)).labels != y
    return wrong >= vote.needed(vote.draws)


class EvasionConformance:
    """Inherit, and set `attack`; set `within` and `share` too for a set of another kind.

    Attributes:
        attack: the attack under test.
        within: a set in which the glass model can be fooled; the default lets a working attack fool every input.
        share: of the inputs, how many the attack must fool.
        glass: the model and its inputs; of another shape for a set that needs it.
    """

    attack: ClassVar[EvasionAttack]
    within: ClassVar[PerturbationSet] = LinfBall(0.25, 0.0, 1.0)
    share: ClassVar[float] = 0.9
    glass: ClassVar[Glass] = Glass()

    def in_range(self, low: float, high: float) -> PerturbationSet:
        """`within`, for inputs of another range.  Override for a set that `stretched` does not know."""
        return stretched(self.within, low, high)

    def _run(
        self,
        count: int = 16,
        seed: int = 0,
        budget: Budget | None = None,
        glass: Glass | None = None,
        model: Model | None = None,
    ) -> tuple[Tensor, Tensor, Metered]:
        glass = glass or self.glass
        x, y = glass.images(count)
        return self._play(x, y, self.in_range(glass.low, glass.high), model or glass.model(), seed, budget)

    def _play(
        self, x: Tensor, y: Tensor, within: PerturbationSet, model: Model, seed: int = 0, budget: Budget | None = None
    ) -> tuple[Tensor, Tensor, Metered]:
        before = x.clone()
        budget = budget or Budget()
        handle = Metered(model, self.attack.needs, budget, len(x))
        point = self.attack.run(handle, x, y, within, budget, Generator().manual_seed(seed))
        assert torch.equal(x, before), "the attack changed its input in place"
        assert point.shape == within.start(x).shape
        assert torch.isfinite(point).all()
        assert within.contains(x, point).all(), "the attack left the set"
        return point, judged(model, x, y, within, within.project(x, point)), handle

    def test_is_a_frozen_dataclass_with_a_name(self) -> None:
        """Parameters are fields; nothing else is kept."""
        assert dataclasses.is_dataclass(self.attack)
        assert self.attack.__dataclass_params__.frozen
        assert self.attack.name
        assert self.attack.refuses(self.within) is None

    def test_fools_the_glass_model_inside_the_set(self) -> None:
        """It works at all; its points are finite, and inside to rounding even before the judge projects.

        Nobody fools anyone without a pass.
        """
        _, fooled, handle = self._run()
        assert fooled.float().mean() >= self.share
        assert (handle.meter.passes > 0).all()

    def test_keeps_every_budget(self) -> None:
        """The meter raises on an overdraft, so returning is the proof; it also spends no more than allowed."""
        for passes in (1, 2, 3, 10, 31):
            _, _, handle = self._run(count=4, budget=Budget(passes=passes))
            assert int(handle.meter.passes.max()) <= passes
        for queries in (1, 7):
            _, _, handle = self._run(count=4, budget=Budget(passes=60, queries=queries))
            assert int(handle.meter.queries.max()) <= queries

    def test_same_seed_same_points(self) -> None:
        """All randomness comes from `rng`, and nothing is kept between calls."""
        first, _, _ = self._run(count=4, seed=3)
        again, _, _ = self._run(count=4, seed=3)
        assert torch.equal(first, again)

    def test_a_batch_of_one_fares_as_in_a_batch_of_many(self) -> None:
        """An example's outcome is its own: the same point where nothing is drawn, else the same success."""
        count = 4
        x, y = self.glass.images(count)
        together, _, _ = self._run(count)
        other, _, _ = self._run(count, seed=1)
        alone = [self._play(x[[at]], y[[at]], self.within, self.glass.model(), seed=at) for at in range(count)]
        assert torch.cat([fooled for _, fooled, _ in alone]).float().mean() >= self.share - 0.3
        if torch.equal(together, other):  # it draws nothing
            assert torch.allclose(torch.cat([point for point, _, _ in alone]), together, atol=1e-4)

    def test_two_classes_and_a_thousand(self) -> None:
        """Losses that look at the third logit, targets, and loops over classes hold at both ends."""
        for classes in (2, 1000):
            _, fooled, _ = self._run(count=8, glass=replace(self.glass, classes=classes))
            assert fooled.float().mean() >= min(self.share, 0.85), f"{classes} classes"

    def test_other_input_ranges(self) -> None:
        """Nothing assumes 0..1: the same problem, stretched, is solved as well."""
        for low, high in ((-1.0, 2.0), (0.0, 255.0)):
            _, fooled, _ = self._run(count=8, glass=replace(self.glass, low=low, high=high))
            assert fooled.float().mean() >= min(self.share, 0.85), f"range {low}..{high}"

    def test_float64(self) -> None:
        """Inputs and models of double precision; points are of the inputs' type."""
        point, fooled, _ = self._run(count=8, glass=replace(self.glass, dtype=torch.float64))
        assert fooled.float().mean() >= min(self.share, 0.85)
        assert point.dtype == torch.float64

    def test_inputs_without_height_and_width(self) -> None:
        """Rows of a table, for sets that move the input itself."""
        flat = Glass(shape=(64,))
        x, _ = flat.images(1)
        if isinstance(self.within, NormBall) and self.within.start(x).shape == x.shape:
            _, fooled, _ = self._run(count=8, glass=flat)
            assert fooled.float().mean() >= min(self.share, 0.85)

    def test_leaves_a_model_in_training_as_it_was(self) -> None:
        """Mode, weights, buffers and gradients; and it is the model in evaluation mode that is attacked."""
        model = self.glass.in_training()
        module = model.module
        state = {name: value.clone() for name, value in module.state_dict().items()}
        modes = [part.training for part in module.modules()]
        _, fooled, _ = self._run(count=8, model=model)
        assert fooled.float().mean() >= min(self.share, 0.85)
        assert [part.training for part in module.modules()] == modes
        assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
        assert all(weight.requires_grad and weight.grad is None for weight in module.parameters())

    def test_takes_examples_that_are_answered_wrongly_already(self) -> None:
        """They are fooled as they are: no crash, no loss of the others."""
        x, y = self.glass.images(8)
        y[::2] = (y[::2] + 1) % self.glass.classes
        _, fooled, _ = self._play(x, y, self.within, self.glass.model(), budget=Budget(passes=1000))
        assert fooled[::2].float().mean() >= min(self.share, 0.75)
        alone, _, _ = self._play(x[:1], y[:1], self.within, self.glass.model(), budget=Budget(passes=1))
        assert len(alone) == 1

    def test_targets_other_classes_than_the_likeliest(self) -> None:
        """Of a strategy with `targets`: a likelier class that no point of the set has does not stop it."""
        if getattr(self.attack, "targets", 0) > 1:
            _, fooled, _ = self._run(count=8, glass=replace(self.glass, decoy=True))
            assert fooled.float().mean() >= min(self.share, 0.85)

    def test_is_denied_what_it_may_not_see(self) -> None:
        """An attack that says it needs less than it uses is found out."""
        if self.attack.needs == Access.LABEL:
            return
        x, y = self.glass.images(4)
        handle = Metered(self.glass.model(), Access(self.attack.needs - 1), Budget(), 4)
        try:
            point = self.attack.run(handle, x, y, self.within, Budget(), Generator().manual_seed(0))
        except AccessDenied:
            return
        fooled = judged(self.glass.model(), x, y, self.within, self.within.project(x, point))
        assert not fooled.all(), "it needs less access than it says"
