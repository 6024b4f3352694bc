"""Rows of a table: what comes out of every verb is a row that could be, within the budget."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redoubt.perturb import Feature, Table

AGE = Feature("age", (0,), cost=2.0, step=1.0, unit=1 / 73, zero=-17 / 73, low=17, high=90, falls=False)
HOURS = Feature("hours", (1,), cost=0.5, step=5.0, unit=0.01, low=0, high=100)
INCOME = Feature("income", (2,), cost=4.0, unit=1.0, low=0.0, high=1.0)
WORK = Feature("work", (3, 4, 5), cost=1.5, values=("private", "state", "none"))
HOME = Feature("home", (7, 8), cost=1.0)
TABLE = Table((AGE, HOURS, WORK, INCOME, HOME), budget=4.0)
FROZEN = [6]
seeds = st.integers(0, 2**31)


def rows(seed: int, count: int = 12) -> tuple[torch.Tensor, torch.Generator]:
    rng = torch.Generator().manual_seed(seed)
    x = torch.zeros(count, 9)
    x[:, 0] = (torch.randint(17, 91, (count,), generator=rng) - 17) / 73
    x[:, 1] = torch.randint(0, 101, (count,), generator=rng) / 100
    x[:, 2] = torch.rand(count, generator=rng)
    x[torch.arange(count), 3 + torch.randint(3, (count,), generator=rng)] = 1
    x[:, 6] = torch.rand(count, generator=rng)
    x[torch.arange(count), 7 + torch.randint(2, (count,), generator=rng)] = 1
    return x, rng


def check_rows(x: torch.Tensor, point: torch.Tensor, table: Table = TABLE) -> None:
    """From the words of the features alone, not from the set's own arithmetic."""
    assert torch.equal(point[:, FROZEN], x[:, FROZEN])
    years = (point[:, 0] - x[:, 0]) * 73
    assert (years - years.round()).abs().max() < 1e-3
    assert (years > -1e-3).all()
    assert (point[:, 0] * 73 + 17 <= 90.001).all()
    fives = (point[:, 1] - x[:, 1]) * 20
    assert (fives - fives.round()).abs().max() < 1e-3
    assert ((point[:, 1:3] >= -1e-6) & (point[:, 1:3] <= 1 + 1e-6)).all()
    cost = 2 * years.abs() + 0.5 * fives.abs() + 4 * (point[:, 2] - x[:, 2]).abs()
    for first, last, price in ((3, 6, 1.5), (7, 9, 1.0)):
        group = point[:, first:last]
        assert ((group == 0) | (group == 1)).all()
        assert (group.sum(dim=1) == 1).all()
        cost += price * (group != x[:, first:last]).any(dim=1)
    assert (cost <= table.budget * 1.001).all()
    assert (table.size(x, point) - cost / table.budget).abs().max() < 1e-3


@settings(max_examples=25, deadline=None)
@given(seed=seeds, scale=st.sampled_from([0.01, 0.1, 1.0, 10.0]))
def test_project_lands_on_rows_that_could_be_and_is_idempotent(seed, scale):
    x, rng = rows(seed)
    point = TABLE.project(x, x + scale * torch.randn(x.shape, generator=rng))
    check_rows(x, point)
    assert TABLE.contains(x, point).all()
    assert torch.equal(TABLE.project(x, point), point)


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_start_and_samples_lie_inside_and_samples_move(seed):
    x, rng = rows(seed)
    assert torch.equal(TABLE.project(x, TABLE.start(x)), x)
    point = TABLE.sample(x, rng)
    check_rows(x, point)
    assert torch.equal(TABLE.project(x, point), point)
    assert (point != x).any()


@settings(max_examples=20, deadline=None)
@given(seed=seeds, step=st.sampled_from([0.01, 0.3, 1.0]))
def test_steps_land_inside(seed, step):
    x, rng = rows(seed)
    point = TABLE.sample(x, rng)
    there = TABLE.ascend(x, point, torch.randn(x.shape, generator=rng), step)
    check_rows(x, there)
    assert TABLE.contains(x, there).all()


def test_a_small_step_moves_by_one_at_least():
    x, _ = rows(0)
    there = TABLE.ascend(x, x, torch.ones_like(x), 1e-6)
    assert ((there != x).any(dim=1)).all()


@settings(max_examples=8, deadline=None)
@given(seed=seeds)
def test_ascend_is_the_best_there_is_where_costs_are_equal(seed):
    """Against every combination, tried one by one."""
    features = tuple(replace(one, cost=1.0) for one in (AGE, replace(HOURS, step=20.0), WORK, HOME))
    table = Table(features, budget=2.0)
    x, rng = rows(seed, 1)
    gradient = torch.randn(x.shape, generator=rng)
    there = table.ascend(x, x, gradient, 1.0)
    options = table.options(x)
    for row in range(len(x)):
        one, best = x[[row]], float((gradient[row] * x[row]).sum())
        for a, b in product(range(len(options.cost)), repeat=2):
            point = one
            for t in (a, b):
                point = options.put(one, point, torch.tensor([t]))
            if table.contains(one, point)[0]:
                best = max(best, float((gradient[row] * point).sum()))
        assert float((gradient[row] * there[row]).sum()) == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        {0: 0.5 / 73},  # half a year
        {0: -1 / 73},  # a year younger
        {0: 3 / 73},  # three years: too dear
        {1: 0.02},  # two hours, of steps of five
        {6: 0.01},  # what no feature names
        {3: 0.4, 4: 0.6},  # between two categories
    ],
)
def test_contains_refuses_rows_that_could_not_be(wrong):
    x = torch.tensor([[20 / 73, 0.4, 0.5, 0.0, 0.0, 1.0, 0.3, 1.0, 0.0]])
    point = x.clone()
    for column, by in wrong.items():
        point[0, column] += by
    assert not TABLE.contains(x, point)[0]
    assert TABLE.contains(x, TABLE.project(x, point))[0]


def test_no_category_or_two_categories_at_once_are_refused():
    x = torch.tensor([[20 / 73, 0.4, 0.5, 0.0, 0.0, 1.0, 0.3, 1.0, 0.0]])
    for work in ([0.0, 0.0, 0.0], [1.0, 0.0, 1.0]):
        point = x.clone()
        point[0, 3:6] = torch.tensor(work)
        assert not TABLE.contains(x, point)[0]


def test_a_row_outside_a_features_range_may_stay_there():
    x = torch.tensor([[1.2, 0.4, 0.5, 0.0, 0.0, 1.0, 0.3, 1.0, 0.0]])
    assert TABLE.contains(x, x)[0]
    up = TABLE.ascend(x, x, torch.tensor([[1.0, 0, 0, 0, 0, 0, 0, 0, 0]]), 1.0)
    assert torch.equal(up, x)


def test_moved_tells_features_in_their_own_units():
    x = torch.tensor([[20 / 73, 0.4, 0.5, 0.0, 0.0, 1.0, 0.3, 1.0, 0.0]])
    options = TABLE.options(x)
    year = int((options.feature == 0).nonzero()[0])
    state = int((options.feature == 2).nonzero()[1])
    point = options.put(x, options.put(x, x, torch.tensor([year])), torch.tensor([state]))
    moved = TABLE.moved(x[0], point[0])
    assert [(m.feature, m.before, m.after, m.cost) for m in moved] == [
        ("age", "37", "38", 2.0),
        ("work", "none", "state", 1.5),
    ]


def test_a_hundred_columns_of_numbers_are_quick_and_exact():
    table = Table(tuple(Feature(f"f{i}", (i,), step=0.1, low=0, high=1) for i in range(100)), budget=3)
    x = torch.full((50, 100), 0.5)
    there = table.ascend(x, x, torch.arange(100.0).expand(50, 100), 1.0)
    assert (table.size(x, there) == 1).all()
    assert (there[:, 99] > 0.75).all()
    assert torch.equal(there[:, :99], x[:, :99])


def test_scaled_multiplies_the_budget():
    assert TABLE.scaled(0.5).budget == 2.0
    assert str(TABLE) == "5 features for 4"
