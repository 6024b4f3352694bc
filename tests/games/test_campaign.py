"""One example at a time through a guard: what counts as a success, and what it cost."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from redoubt.attacks.evasion import EvasionAttack, Oars, RayS
from redoubt.attacks.evasion.glass import GlassModel as _Glass
from redoubt.attacks.evasion.glass import glass_images as _images
from redoubt.games.campaign import play_each, replay
from redoubt.models.base import Face
from redoubt.models.customer import Customer, Terms
from redoubt.perturb import LinfBall
from redoubt.records import Access, Budget, Fault
from standin import DAY, URL, StandIn, TurnedClock

BALL = LinfBall(0.25, 0.0, 1.0)
BUDGET = Budget(queries=60, accounts=2)


def blocks(x):
    return x.reshape(len(x), 4, 16).sum(axis=2)


def guarded(wait=30 * DAY, keys=("a", "b", "c", "d"), **settings):
    clock = TurnedClock()
    guard = StandIn(blocks, [1, 8, 8], clock, keys)
    for name, value in settings.items():
        setattr(guard, name, value)
    face = Face((1, 8, 8), 0.0, 1.0, 4)
    return guard, Customer(URL, face, keys, clock, Terms(longest_wait=wait), guard.transport)


def play(model, attack, count=3, budget=BUDGET, first=0):
    x, y = _images(count)
    return play_each(model, attack, x, y, BALL, attack.needs, budget, range(count), first)


@dataclass(frozen=True)
class Proposes(EvasionAttack):
    """Asks `asks` times about the corner of the ball that is wrong for the glass, and proposes it."""

    asks: int = 0
    name: ClassVar[str] = "proposes"
    needs: ClassVar[Access] = Access.LABEL

    def run(self, model, x, y, within, budget, rng):
        point = wrong_corner(x, y)
        for _ in range(self.asks):
            model.query(point)
        return point


@dataclass(frozen=True)
class Breaks(Proposes):
    def run(self, model, x, y, within, budget, rng):
        raise Fault("nothing works")


def wrong_corner(x, y):
    sign = torch.ones(len(x), 4, 16)
    sign[torch.arange(len(x)), y] = -1
    return BALL.project(x, x + 0.25 * sign.view_as(x))


def test_a_wrong_answer_that_was_let_out_is_a_success_and_is_not_asked_again():
    guard, customer = guarded()
    attempts = play(customer, Proposes(asks=1))
    assert [attempt.fooled for attempt in attempts] == [True] * 3
    assert [attempt.tally.queries for attempt in attempts] == [1] * 3
    assert len(guard.asked) == 3


def test_what_was_never_asked_is_submitted_as_the_customer_and_costs_a_query():
    guard, customer = guarded()
    attempts = play(customer, Proposes())
    assert [attempt.fooled for attempt in attempts] == [True] * 3
    assert [attempt.tally.queries for attempt in attempts] == [1] * 3
    assert len(guard.asked) == 3


@pytest.mark.parametrize("asks", [0, 1, 5])
def test_a_refused_point_is_no_success_however_often_it_was_asked(asks):
    _, customer = guarded(most=0, lasts=0.0)
    attempts = play(customer, Proposes(asks=asks))
    assert not any(attempt.fooled for attempt in attempts)
    assert [attempt.tally.refusals for attempt in attempts] == [asks + 1] * 3


def test_what_has_left_the_guard_has_left_it():
    """The same point is refused the second time: the first answer counts."""
    _, customer = guarded(most=1, lasts=0.0)
    attempts = play(customer, Proposes(asks=2))
    assert all(attempt.fooled for attempt in attempts)
    assert [attempt.tally.refusals for attempt in attempts] == [1] * 3


def test_a_right_answer_is_no_success():
    _, customer = guarded()
    x, y = _images(3)
    attempts = play_each(customer, Proposes(), x, (y + 1) % 4, LinfBall(1e-6, 0.0, 1.0), Access.LABEL, BUDGET, range(3))
    assert all(attempt.fooled for attempt in attempts)  # against other labels the clean input is wrong already
    attempts = play_each(customer, Proposes(), x, y, LinfBall(1e-6, 0.0, 1.0), Access.LABEL, BUDGET, range(3))
    assert not any(attempt.fooled for attempt in attempts)


def test_every_example_has_accounts_of_its_own():
    guard, customer = guarded(keys=("a", "b", "c", "d", "e", "f"), most=1)
    play(customer, Proposes(asks=3))
    assert [account for account, status in guard.asked if status == 200] == ["a", "b", "c", "d", "e", "f"]


def test_further_examples_begin_after_the_accounts_that_are_gone():
    guard, customer = guarded()
    play(customer, Proposes(asks=1), count=1, first=3)
    assert [account for account, _ in guard.asked] == ["d"]


def test_who_runs_out_of_accounts_gives_up_and_the_next_example_is_played():
    _, customer = guarded(wait=60.0, keys=("a", "b", "c", "d"), most=0)
    attempts = play(customer, RayS(), count=2)
    assert not any(attempt.fooled for attempt in attempts)
    assert [attempt.tally.refusals for attempt in attempts] == [2, 2]  # one for each of its accounts
    assert [attempt.tally.burnt for attempt in attempts] == [{0, 1}, {2, 3}]
    assert all(attempt.broke is None for attempt in attempts)


def test_a_strategy_that_breaks_says_so_and_wins_nothing():
    _, customer = guarded()
    attempts = play(customer, Breaks())
    assert not any(attempt.fooled for attempt in attempts)
    assert all("nothing works" in attempt.broke for attempt in attempts)


def test_the_bare_model_is_played_in_the_same_way():
    _, customer = guarded(most=10_000)
    bare, through = play(_Glass(), RayS()), play(customer, RayS())
    assert [attempt.fooled for attempt in bare] == [attempt.fooled for attempt in through] == [True] * 3
    assert [attempt.tally.queries for attempt in bare] == [attempt.tally.queries for attempt in through]
    assert not any(attempt.tally.asked for attempt in bare)


def test_replay_submits_each_once():
    _, customer = guarded()
    x, y = _images(3)
    attempts = replay(customer, torch.cat([wrong_corner(x, y)[:2], x[2:]]), y, BUDGET)
    assert [attempt.fooled for attempt in attempts] == [True, True, False]
    assert [attempt.tally.queries for attempt in attempts] == [1, 1, 1]


def test_memory_stops_rays_and_not_who_stays_unlike_themselves():
    """Five like queries lock an account for an hour, and nobody waits."""
    settings = {"wait": 0.0, "near": 0.9, "most": 3}
    naive = play(guarded(**settings)[1], RayS(), budget=Budget(queries=200, accounts=1))
    adaptive = play(guarded(**settings)[1], Oars(RayS(), share=0.1), budget=Budget(queries=200, accounts=1))
    assert sum(attempt.fooled for attempt in naive) < sum(attempt.fooled for attempt in adaptive)
