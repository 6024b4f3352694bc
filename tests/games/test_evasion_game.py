"""The judge believes nobody."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from redoubt.attacks.evasion import PGD, EvasionAttack, RandomSearch
from redoubt.attacks.evasion.glass import GlassModel as _Glass
from redoubt.attacks.evasion.glass import glass_images as _images
from redoubt.games import play, play_round
from redoubt.models.base import Answer
from redoubt.perturb import LinfBall
from redoubt.records import Access, Budget

BALL = LinfBall(0.02, 0.0, 1.0)  # too small to fool the glass model
WIDE = LinfBall(0.25, 0.0, 1.0)


@dataclass(frozen=True)
class Proposes(EvasionAttack):
    what: str = "outside"
    name: ClassVar[str] = "proposes"
    needs: ClassVar[Access] = Access.LABEL

    def run(self, model, x, y, within, budget, rng):
        if self.what == "outside":
            return torch.rand(x.shape, generator=rng)
        if self.what == "nan":
            return x * torch.nan
        if self.what == "shape":
            return x[:, 0]
        if self.what == "overdraft":
            for _ in range(20):
                model.query(x)
        if self.what == "peek":
            model.logits(x)
        return x


def rounds(attack, within, access=Access.LABEL, budget=None, count=16):
    x, y = _images(count)
    return play_round(_Glass(), attack, x, y, within, access, budget or Budget(), torch.Generator().manual_seed(0))


def test_step_2_a_proposal_outside_the_set_is_projected():
    x, _ = _images(16)
    played = rounds(Proposes("outside"), BALL)
    assert not played.fooled.any()
    assert BALL.contains(x, played.perturbed).all()
    assert played.broke is None


@pytest.mark.parametrize(
    ("what", "says"),
    [("nan", "not finite"), ("shape", "shape"), ("overdraft", "BudgetExceeded"), ("peek", "AccessDenied")],
)
def test_a_strategy_that_breaks_says_why_and_fools_nobody(what, says):
    played = rounds(Proposes(what), WIDE, budget=Budget(passes=10))
    assert says in played.broke
    assert not played.fooled.any()


def test_step_3_the_model_is_asked_again_outside_the_meter():
    played = rounds(PGD(), WIDE, Access.GRADIENTS)
    assert played.fooled.all()
    _, y = _images(16)
    assert torch.equal(_Glass().query(played.perturbed).labels, played.answers)
    assert (played.answers != y).all()
    assert (played.meter.queries == 0).all()


def test_step_4_a_refusal_is_no_wrong_answer():
    class Refuses(_Glass):
        def query(self, x):  # a guard that refuses everything
            answer = super().query(x)
            return Answer(answer.labels * 0 - 1, answer.scores, torch.ones_like(answer.refused))

    x, y = _images(8)
    played = play_round(
        Refuses(), RandomSearch(20), x, y, WIDE, Access.LABEL, Budget(), torch.Generator().manual_seed(0)
    )
    assert not played.fooled.any()
    assert played.meter.refusals.tolist() == [20] * 8


def test_play_counts_only_right_answers_that_nothing_turned():
    x, y = _images(16)
    wrong = y.clone()
    wrong[:4] = (wrong[:4] + 1) % 4
    robust = play(_Glass(), [RandomSearch(5), PGD()], x, wrong, BALL)
    assert robust.tolist() == [False] * 4 + [True] * 12
    assert not play(_Glass(), [RandomSearch(5), PGD()], x, y, WIDE).any()
