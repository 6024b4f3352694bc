"""Every set: project is idempotent, lands inside and leaves points inside alone; ascend climbs as far as there is."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from redoubt.perturb import Corruptions, L0Ball, L1Ball, L2Ball, LinfBall, Patch, PerturbationSet, Then, Turn, Union
from redoubt.perturb.corruption_kinds import IN_ORDER

RANGES = [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)]
radii = st.floats(1e-3, 0.6)
seeds = st.integers(0, 2**31)


def make(kind: str, share: float, low: float, high: float) -> PerturbationSet:
    """A set whose radius is that share of the range."""
    radius = share * (high - low)
    balls = {"linf": LinfBall, "l2": L2Ball, "l1": L1Ball}
    if kind == "l0":
        return L0Ball(1 + round(40 * share), low, high)
    if kind in balls:
        return balls[kind](radius * {"linf": 1, "l2": 3, "l1": 10}[kind], low, high)
    turn = Turn(60 * share, 5 * share, fill=low, high=high)
    if kind.startswith("then"):
        return Then(turn, balls[kind.removeprefix("then-")](2 * radius, low, high))
    if kind == "patch":
        return Patch(0.5 * share, low, high, scale=(0.8, 1.2), rotation=30.0, light=0.1)
    if kind == "corruptions":
        return Corruptions(tuple(IN_ORDER), 5 * share, low, high, at_once=3)
    return turn if kind == "turn" else Union((LinfBall(radius, low, high), L2Ball(2 * radius, low, high), turn))


def images(seed: int, low: float, high: float, count: int = 6) -> tuple[torch.Tensor, torch.Generator]:
    rng = torch.Generator().manual_seed(seed)
    x = low + (high - low) * torch.rand(count, 3, 6, 7, generator=rng).mul(1.4).sub(0.2).clamp(0, 1)
    return x, rng


def noisy_points(within: PerturbationSet, x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Points in and out of the set, near and far."""
    start = within.start(x)
    noise = torch.randn(start.shape, generator=rng) * 10 ** (torch.rand(len(x), generator=rng) * 3 - 2).view(
        -1, *[1] * (start.dim() - 1)
    )
    if isinstance(within, Union):
        noise[:, 0] = torch.randint(0, 3, (len(x),), generator=rng)
        point = torch.cat([within.sample(x, rng)[:, :1], (within.sample(x, rng) + noise)[:, 1:]], dim=1)
        return within.project(x, point) + 0 * point
    return start + noise


KINDS = ["linf", "l2", "l1", "l0", "turn", "union", "then-linf", "then-l2", "corruptions", "patch"]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(share=radii, seed=seeds, limits=st.sampled_from(RANGES))
def test_project_lands_inside_and_is_idempotent(kind, share, seed, limits):
    within = make(kind, share, *limits)
    x, rng = images(seed, *limits)
    once = within.project(x, noisy_points(within, x, rng))
    assert within.contains(x, once).all()
    assert torch.equal(within.project(x, once), once)
    drawn = within.render(x, once)
    assert drawn.shape == x.shape
    assert (drawn >= limits[0]).all()
    assert (drawn <= limits[1]).all()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(share=radii, seed=seeds, limits=st.sampled_from(RANGES))
def test_samples_and_start_lie_inside_and_stay(kind, share, seed, limits):
    within = make(kind, share, *limits)
    x, rng = images(seed, *limits)
    for point in (within.start(x), within.sample(x, rng)):
        assert within.contains(x, point).all()
        assert torch.equal(within.project(x, point), point)
    torch.testing.assert_close(within.render(x, within.start(x)), x, atol=1e-5 * (limits[1] - limits[0]), rtol=0)


@pytest.mark.parametrize("kind", ["linf", "l2", "l1"])
def test_contains_refuses_what_is_outside(kind):
    within = make(kind, 0.1, 0.0, 1.0)
    x = torch.full((2, 1, 6, 7), 0.5)
    direction = torch.zeros_like(x)
    direction[:, 0, 0, 0] = 1.0
    radius = within.radius
    for length, inside in ((0.999 * min(radius, 0.49), True), (1.01 * radius, False)):
        if length <= 0.5 or not inside:
            assert within.contains(x, x + length * direction).all() == inside
    above = x.clone()
    above[:, 0, 0, 0] = 1.0 + 1e-3
    assert not within.contains(x, above).any()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(share=radii, seed=seeds)
def test_no_sample_beats_a_full_ascent_of_a_linear_loss(kind, share, seed):
    """In the set's own coordinates a linear loss is greatest where one whole step from the start leads."""
    within = make(kind, share, 0.0, 1.0)
    x, rng = images(seed, 0.0, 1.0)
    start = within.start(x)
    gradient = torch.randn(start.shape, generator=rng)
    if kind == "corruptions":
        gradient[:, -1] = 0  # the number of a pattern has no slope
    if kind == "patch":
        gradient[:, 0] = 0  # whether it is there
    top = within.ascend(x, start, gradient, 1.0)
    assert within.contains(x, top).all()

    def value(point):
        return ((point - start) * gradient).flatten(1)

    part = value(top)
    for _ in range(20):
        sample = within.sample(x, rng)
        same = (sample[:, 0] == start[:, 0]) if kind == "union" else torch.ones(len(x), dtype=torch.bool)
        assert (value(sample).sum(1) <= part.sum(1) + 1e-4)[same].all()


@pytest.mark.parametrize("seed", range(6))
def test_l1_ascent_is_the_optimum_of_its_linear_program(seed):
    x, rng = images(seed, 0.0, 1.0, count=1)
    gradient = torch.randn(x.shape, generator=rng)
    radius = 4.0
    move = L1Ball(radius, 0.0, 1.0).ascend(x, x, gradient, 1.0) - x
    g, room = gradient.flatten().numpy(), x.flatten().numpy()
    # d = up - down, both >= 0
    cost = np.concatenate([-g, g])
    best = linprog(
        cost,
        A_ub=np.ones((1, 2 * len(g))),
        b_ub=[radius],
        bounds=[*((0, 1 - v) for v in room), *((0, v) for v in room)],
    )
    assert float((move * gradient).sum()) == pytest.approx(-best.fun, rel=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_l2_ascent_is_the_optimum(seed):
    """Against the slow way: argmax g.d on ball and box is clip(t g) for the t that uses up the radius."""
    x, rng = images(seed, 0.0, 1.0, count=1)
    gradient = torch.randn(x.shape, generator=rng)
    radius = 1.5
    low, high = 0.0, 1e4
    for _ in range(100):
        middle = (low + high) / 2
        slow = (x + middle * gradient).clamp(0, 1) - x
        low, high = (middle, high) if slow.norm() <= radius else (low, middle)
    move = L2Ball(radius, 0.0, 1.0).ascend(x, x, gradient, 1.0) - x
    assert float((move * gradient).sum()) == pytest.approx(float((slow * gradient).sum()), rel=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_l1_projection_is_the_nearest_point(seed):
    """No feasible point found by averaging towards the outside point comes nearer."""
    x, rng = images(seed, 0.0, 1.0, count=1)
    ball = L1Ball(2.0, 0.0, 1.0)
    outside = x + torch.randn(x.shape, generator=rng)
    nearest = ball.project(x, outside)
    distance = (outside - nearest).norm()
    for _ in range(300):
        rival = ball.project(x, nearest + 0.05 * torch.randn(x.shape, generator=rng))
        assert (outside - rival).norm() >= distance - 1e-4


@pytest.mark.parametrize("seed", range(4))
def test_l0_ascent_is_the_optimum_over_all_choices_of_pixels(seed):
    """Against the slow way: every pair of pixels, each channel at its better end."""
    rng = torch.Generator().manual_seed(seed)
    x, gradient = torch.rand(1, 3, 2, 3, generator=rng), torch.randn(1, 3, 2, 3, generator=rng)
    move = L0Ball(2, 0.0, 1.0).ascend(x, x, gradient, 1.0) - x
    worth = (torch.where(gradient > 0, 1 - x, -x) * gradient).sum(dim=1).flatten()
    best = max(float(worth[a] + worth[b]) for a in range(6) for b in range(a))
    assert float((move * gradient).sum()) == pytest.approx(best, rel=1e-4)


def test_l0_counts_the_pixels_of_an_image_and_the_values_of_anything_else():
    x = torch.zeros(1, 3, 2, 2)
    point = x.clone()
    point[0, :, 0, 0] = 1.0
    assert L0Ball(1, 0.0, 1.0).contains(x, point).all()
    assert not L0Ball(2, 0.0, 1.0).contains(x.flatten(1), point.flatten(1)).any()
    assert L0Ball(1, 0.0, 1.0).most((3, 2, 2)) == 4
    assert L0Ball(1, 0.0, 1.0).most((12,)) == 12


def test_l0_projection_keeps_the_pixels_that_change_most():
    x = torch.full((1, 2, 1, 3), 0.5)
    point = x + torch.tensor([[[[0.1, 0.3, 0.0]], [[0.1, 0.0, 0.2]]]])
    kept = L0Ball(1, 0.0, 1.0).project(x, point) - x
    torch.testing.assert_close(kept, torch.tensor([[[[0.0, 0.3, 0.0]], [[0.0, 0.0, 0.0]]]]))


def test_an_l0_step_gives_up_what_is_worth_least():
    """From a full ball, a step of one pixel trades the worst for the best and leaves the others."""
    x, ball = torch.zeros(1, 4), L0Ball(2, 0.0, 1.0)
    point = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    there = ball.ascend(x, point, torch.tensor([[2.0, -1.0, 0.0, 3.0]]), 0.5)
    assert there.tolist() == [[1.0, 0.0, 0.0, 1.0]]


@pytest.mark.parametrize("kind", ["linf", "l2", "l1", "l0"])
@settings(max_examples=25, deadline=None)
@given(seed=seeds, share=st.floats(0, 1))
def test_lengths_that_differ_by_row_are_kept_whatever_the_radius(kind, seed, share):
    """What minimum-norm attacks move by: `within`, `best_move`, `dual` and `whole`."""
    ball = make(kind, 0.1, -1.0, 1.0)
    x, rng = images(seed, -1.0, 1.0)
    whole = ball.whole(x.shape[1:])
    length = share * torch.rand(len(x), generator=rng) * whole.radius
    other = torch.rand(x.shape, generator=rng) * 2 - 1
    assert whole.contains(x, other).all()
    slack = 1e-4 * whole.radius
    assert (ball.length(ball.within(x, other, length) - x) <= length + slack).all()
    gradient = torch.randn(x.shape, generator=rng)
    move = ball.best_move(x, gradient, length)
    assert (ball.length(move) <= length.ceil() if kind == "l0" else ball.length(move) <= length + slack).all()
    rise = (move * gradient).flatten(1).sum(dim=1)
    assert (rise <= ball.dual(gradient) * length * (1 + 1e-4) + 1e-4).all()


def test_turn_by_right_angles_and_whole_pixels_is_exact():
    x = torch.arange(25.0).view(1, 1, 5, 5) / 25
    turn = Turn(90, 2, fill=0.0, high=1.0)
    quarter = turn.render(x, torch.tensor([[90.0, 0.0, 0.0]]))
    torch.testing.assert_close(quarter, x.rot90(1, (2, 3)), atol=1e-5, rtol=0)  # counter-clockwise on the screen
    right = turn.render(x, torch.tensor([[0.0, 2.0, 0.0]]))
    torch.testing.assert_close(right[..., 2:], x[..., :-2], atol=1e-5, rtol=0)
    assert right[..., :2].abs().max() < 1e-5
    down = turn.render(x, torch.tensor([[0.0, 0.0, 1.0]]))
    torch.testing.assert_close(down[..., 1:, :], x[..., :-1, :], atol=1e-5, rtol=0)


def test_turn_is_rigid_on_wide_images():
    """A bright pixel stays at its distance from the centre however the image is shaped."""
    x = torch.zeros(1, 1, 9, 21)
    x[0, 0, 4, 13] = 1.0  # three pixels right of the centre
    drawn = Turn(90, 0, fill=0.0, high=1.0).render(x, torch.tensor([[90.0, 0.0, 0.0]]))
    assert drawn[0, 0, 1, 10] == pytest.approx(1.0, abs=1e-4)


def test_turn_grid_covers_ends_centre_and_only_the_set():
    turn = Turn(30, 3, fill=0.0, high=1.0)
    x = torch.zeros(1, 1, 8, 8)
    grid = turn.grid(x)
    assert len(grid) == 31 * 7 * 7
    assert turn.contains(x, grid).all()
    rows = {tuple(row) for row in grid.tolist()}
    assert len(rows) == len(grid)
    assert {(30.0, 3.0, -3.0), (0.0, 0.0, 0.0), (-30.0, 0.0, 3.0)} <= rows
    assert turn.size(x, grid[:1])[0] >= turn.size(x, grid[-1:])[0]


def test_fill_is_the_low_end_of_the_range():
    x = torch.ones(1, 1, 5, 5)
    assert Turn(0, 2, fill=-1.0, high=1.0).render(x, torch.tensor([[0.0, 2.0, 0.0]]))[0, 0, 2, 0] == -1.0


def test_union_picks_every_member():
    within = make("union", 0.3, 0.0, 1.0)
    x, rng = images(0, 0.0, 1.0, count=60)
    assert set(within.sample(x, rng)[:, 0].tolist()) == {0.0, 1.0, 2.0}
    assert len(within.members) == 3


@pytest.mark.parametrize("kind", ["linf", "l2", "l1"])
def test_everything_holds_any_input(kind):
    whole = make(kind, 0.1, -1.0, 1.0).everything()
    x, rng = images(0, -1.0, 1.0)
    other = torch.rand(x.shape, generator=rng) * 2 - 1
    assert whole.contains(x, other).all()


@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e-30, 1e-37])
def test_l2_ascent_goes_the_whole_way_along_a_tiny_gradient(scale):
    """As cross-entropy gives it on saturated logits."""
    x, rng = images(0, 0.0, 1.0)
    gradient = torch.randn(x.shape, generator=rng)
    ball = L2Ball(0.5, 0.0, 1.0)
    whole, tiny = (ball.ascend(x, x, g, 1.0) - x for g in (gradient, gradient * scale))
    cosine = torch.nn.functional.cosine_similarity(whole.flatten(1), tiny.flatten(1))
    assert (cosine > 0.999).all()
    torch.testing.assert_close(ball.length(tiny), ball.length(whole), rtol=1e-3, atol=0)
