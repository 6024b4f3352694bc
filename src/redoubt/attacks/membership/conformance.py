"""What every membership attack owes, as a class to inherit in a test module.

    class TestMine(MembershipConformance):
        attack = MyAttack()

Each test plays the attack on a planted memoriser, who is surer of what it was trained on than chance explains, and on
a stranger, who never saw the records: an attack that does nothing fails on the first, one that is told who is who on
the second.
"""

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.membership.base import Asked, MembershipAttack, Shadows, View
from redoubt.attacks.membership.halves import halves
from redoubt.models.base import Face
from redoubt.records import Access

_CLASSES, _GREATEST = 4, 4
_HARDNESS = 3.0  # spread of records' difficulty, which is what weak attacks take for membership


def scene(records: int, models: int, gain: float, seed: int) -> tuple[View, Tensor]:
    """A view of a target, and who was a member: bool `[N]`.

    Confidences are those of the model behind LiRA: each record has a difficulty of its own, each model adds noise, and
    training on a record adds `gain` to it; 0 is a stranger.  The target is right where its confidence is above a share
    of the noise that changed copies add.
    """
    rng = Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    inside = halves(models, records, seed)
    member = torch.randperm(records, generator=rng) < records // 2
    ease = _HARDNESS * normal(records)
    confidence = ease + normal(models, records) + gain * inside
    target = ease + normal(records) + gain * member
    copies = target[:, None] + 2 * normal(1, 40) * torch.linspace(0, 3, 40, dtype=torch.float64)
    right = torch.cat([target[:, None], copies], dim=1) > 0
    y = torch.arange(records) % _CLASSES
    shadows = Shadows(confidence, _greatest(confidence), inside)
    return View(y, Asked(right, target[:, None], _greatest(target)), shadows), member


def _greatest(confidence: Tensor) -> Tensor:
    """Log-probabilities of four classes, of which all but the true one are alike."""
    own = torch.nn.functional.logsigmoid(confidence)
    rest = torch.nn.functional.logsigmoid(-confidence) - torch.log(torch.tensor(_CLASSES - 1.0, dtype=torch.float64))
    every = torch.stack([own, *[rest] * (_CLASSES - 1)], dim=-1)
    return every.topk(_GREATEST, dim=-1).values


def advantage(scores: Tensor, member: Tensor) -> float:
    """The area under the curve."""
    mine, others = scores[member], scores[~member]
    above = (mine[:, None] > others[None, :]).double() + 0.5 * (mine[:, None] == others[None, :]).double()
    return float(above.mean())


class MembershipConformance:
    """Inherit, and set `attack`.

    Attributes:
        attack: the attack under test.
        least: the area under the curve that it must reach on the memoriser.
        alone: whether a record's score depends on what is said of that record only, and not on how others look.
        face: of the inputs that `variants` is tried on.
    """

    attack: ClassVar[MembershipAttack]
    least: ClassVar[float] = 0.6
    alone: ClassVar[bool] = True
    face: ClassVar[Face] = Face((1, 6, 6), 0.0, 1.0, _CLASSES)

    def _seen(self, view: View) -> View:
        """What an adversary sees who has no more than the attack needs."""
        target = view.target if self.attack.needs >= Access.SCORES else Asked(view.target.right)
        if self.attack.needs >= Access.SCORES:
            target = replace(target, right=target.right[:, :1])
        return View(view.y, target, view.shadows if self.attack.shadowed else None)

    def test_scores_are_finite_and_one_for_each_record(self) -> None:
        """Also where models are as sure as can be."""
        view, _ = scene(60, 8, 100.0, 0)
        scores = self.attack.scores(self._seen(view))
        assert scores.shape == (60,)
        assert scores.dtype == torch.float64
        assert scores.isfinite().all()

    def test_finds_what_a_memoriser_memorised(self) -> None:
        """Greater means member; and whoever is told the opposite finds as little as it found much."""
        view, member = scene(2000, 16, 2.5, 1)
        found = advantage(self.attack.scores(self._seen(view)), member)
        assert found >= self.least
        assert advantage(self.attack.scores(self._seen(view)), ~member) <= 1 - self.least

    def test_finds_nothing_in_a_stranger(self) -> None:
        """Shadow models memorise, the target never saw the records: within four standard deviations of chance.

        Of the area under the curve by chance: `sqrt((n1 + n0 + 1) / (12 n1 n0))`.
        """
        records = 2000
        view, member = scene(records, 16, 2.5, 2)
        stranger, _ = scene(records, 16, 0.0, 3)
        told = View(view.y, stranger.target, view.shadows)
        chance = ((records + 1) / (12 * (records / 2) ** 2)) ** 0.5
        assert abs(advantage(self.attack.scores(self._seen(told)), member) - 0.5) < 4 * chance

    def test_the_same_view_gives_the_same_scores_and_stays_as_it_was(self) -> None:
        """Nothing is drawn, kept or changed."""
        view, _ = scene(100, 8, 2.0, 4)
        before = view.target.right.clone()
        first, again = (self.attack.scores(self._seen(view)) for _ in range(2))
        assert torch.equal(first, again)
        assert torch.equal(view.target.right, before)

    def test_a_record_fares_alike_in_any_order_and_in_any_part(self) -> None:
        """Order never matters; other records matter only to attacks that learn from them how members look."""
        view, _ = scene(200, 80, 2.0, 5)
        scores = self.attack.scores(self._seen(view))
        for rows in (torch.randperm(200, generator=Generator().manual_seed(0)), torch.arange(0, 200, 3)):
            if len(rows) < 200 and not self.alone:
                continue
            part = self.attack.scores(self._seen(rows_of(view, rows)))
            assert torch.allclose(part, scores[rows], rtol=1e-6, atol=1e-6)

    def test_variants_begin_with_the_record_and_are_the_same_in_any_batch(self) -> None:
        """And stay in the range."""
        if self.attack.refuses(self.face) is not None:
            return
        x = torch.rand(5, *self.face.shape, generator=Generator().manual_seed(0))
        together = self.attack.variants(x, self.face, Generator().manual_seed(7))
        assert together.shape[0] == 5
        assert torch.equal(together[:, 0], x)
        assert (together >= self.face.low).all()
        assert (together <= self.face.high).all()
        for at in range(5):
            alone = self.attack.variants(x[at : at + 1], self.face, Generator().manual_seed(7))
            assert torch.equal(alone[0], together[at])

    def test_says_what_is_missing(self) -> None:
        """Without what it goes by it raises, and does not guess."""
        view, _ = scene(40, 8, 2.0, 6)
        less = View(view.y, Asked(view.target.right[:, :1]), None)
        try:
            self.attack.scores(less)
        except ValueError:
            return
        raise AssertionError("it gave scores from nothing")


def rows_of(view: View, rows: Tensor) -> View:
    """The view of some records."""
    target, shadows = view.target, view.shadows
    return View(
        view.y[rows],
        Asked(
            target.right[rows],
            None if target.confidence is None else target.confidence[rows],
            None if target.greatest is None else target.greatest[rows],
        ),
        None
        if shadows is None
        else Shadows(shadows.confidence[:, rows], shadows.greatest[:, rows], shadows.inside[:, rows]),
    )
