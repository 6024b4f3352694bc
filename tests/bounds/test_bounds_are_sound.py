"""Bounds against exact rational arithmetic and against many samples."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from redoubt.bounds import Region, from_torch, interval_bounds
from redoubt.bounds.network.graph import without_largest
from redoubt.bounds.network.ops import SShape
from redoubt.bounds.relaxed.crown import bounds_before, costs_of, sweep
from redoubt.bounds.relaxed.interval import interval_values
from redoubt.bounds.relaxed.lines import relu_lines, s_lines
from redoubt.bounds.relaxed.slopes import first_slopes, tune
from redoubt.records import Norm
from small_networks import NETS, exact, exact_intervals, exact_outputs, mlp


def graph_of(name):
    net, shape = NETS[name]
    return without_largest(from_torch(net, shape).frozen())


def both_ways(outputs):
    return torch.cat([torch.eye(outputs), -torch.eye(outputs)]).double()


def boxes(graph, radius, rows=3):
    rng = torch.Generator().manual_seed(1)
    middle = torch.rand(rows, graph.size, generator=rng, dtype=torch.float64)
    return Region(middle - radius, middle + radius)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("radius", [0.01, 0.2, 2.0])
def test_no_sample_is_outside_the_bounds(name, radius):
    graph = graph_of(name)
    region = boxes(graph, radius)
    costs = costs_of(graph, region)
    before = bounds_before(graph, region, costs)
    a = both_ways(graph.outputs).expand(len(region), -1, -1)
    plain = sweep(graph, region, len(graph.steps), a, before, costs=costs).bound
    tuned = tune(graph, region, a, before, costs, first_slopes(graph, before, a.shape[1])).swept.bound
    low, high = interval_values(graph, region.lower, region.upper)[-1]
    intervals = torch.cat([low, -high], dim=1)
    rng = torch.Generator().manual_seed(2)
    unit = torch.rand(len(region), 20_000, graph.size, generator=rng, dtype=torch.float64)
    unit[:, :10_000] = unit[:, :10_000].round()  # corners, where the extremes of narrow boxes lie
    x = region.lower[:, None] + unit * (region.upper - region.lower)[:, None]
    values = graph.values(x.flatten(0, 1))
    least = torch.einsum("sm,bnm->bns", a[0], values[-1].view(len(region), -1, graph.outputs)).amin(dim=1)
    assert bool((intervals <= least).all())
    assert bool((plain <= least).all())
    assert bool((tuned <= least).all())
    assert bool((tuned >= plain - 1e-9).all())
    for at, (lower, upper) in before.items():
        seen = values[graph.steps[at - 1].inputs[0]].view(len(region), x.shape[1], -1)
        assert bool((lower <= seen.amin(dim=1)).all())
        assert bool((seen.amax(dim=1) <= upper).all())


@pytest.mark.parametrize("norm", [Norm.L2, Norm.L1])
def test_no_sample_of_a_ball_is_outside_and_the_ball_helps(norm):
    graph = graph_of("mlp")
    centre = torch.full((1, graph.size), 0.5, dtype=torch.float64)
    box = Region(centre - 0.4, centre + 0.4)
    ball = Region(centre - 0.4, centre + 0.4, centre, 0.4, norm)
    a = both_ways(graph.outputs)[None]
    found = []
    for region in (box, ball):
        costs = costs_of(graph, region)
        before = bounds_before(graph, region, costs)
        found.append(sweep(graph, region, len(graph.steps), a, before, costs=costs).bound)
    move = torch.randn(200_000, graph.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = ball.inside((centre + move * 0.3)[None])[0]
    assert bool((ball.length(x - centre) <= 0.4).all())
    assert float(ball.length(x - centre).max()) > 0.399
    assert bool((found[1] <= (graph(x) @ a[0].T).amin(dim=0)).all())
    assert bool((found[1] > found[0]).all())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-6, 5.0), st.sampled_from([1.0, 1e3, 1e-3, 1e8]))
def test_intervals_hold_exact_interval_arithmetic(seed, radius, gain):
    net = mlp(3, 4, 3, 2, seed=seed, gain=gain)
    x = torch.rand(1, 3, generator=torch.Generator().manual_seed(seed)).double()
    low, high = x - radius, x + radius
    wanted_low, wanted_high = exact_intervals(net, exact(low[0]), exact(high[0]))
    found_low, found_high = interval_values(from_torch(net, (3,)).frozen(), low, high)[-1]
    for lower, upper, inside_low, inside_high in zip(
        found_low[0].tolist(), found_high[0].tolist(), wanted_low, wanted_high, strict=True
    ):
        assert Fraction(lower) <= inside_low
        assert inside_high <= Fraction(upper)
        assert upper - lower <= float(inside_high - inside_low) * (1 + 1e-9) + 1e-9 * abs(upper)  # and not much more


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1e-12, 1e-3, 0.5]), st.sampled_from([1.0, 1e4]))
def test_linear_bounds_hold_at_exact_points(seed, radius, gain):
    net = mlp(3, 4, 3, 2, seed=seed, gain=gain)
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(1, 3, generator=rng).double()
    region = Region(x - radius, x + radius)
    graph = from_torch(net, (3,)).frozen()
    costs = costs_of(graph, region)
    before = bounds_before(graph, region, costs)
    a = both_ways(2)[None]
    bounds = tune(graph, region, a, before, costs, first_slopes(graph, before, 4)).swept.bound[0].tolist()
    for _ in range(8):
        corner = torch.where(torch.rand(1, 3, generator=rng) < 0.5, region.lower, region.upper)
        outputs = exact_outputs(net, exact(corner[0]))
        for bound, value in zip(bounds, [*outputs, *(-v for v in outputs)], strict=True):
            assert Fraction(bound) <= value


def cancelling(seed):
    """Large numbers that all but cancel: what is left is smaller than the rounding of its parts."""
    rng = torch.Generator().manual_seed(seed)
    first = nn.Linear(2, 40).double()
    last = nn.Linear(40, 1).double()
    with torch.no_grad():
        first.weight.copy_(torch.randn(40, 2, generator=rng).double() * 1e6)
        first.weight[20:] = first.weight[:20]
        first.bias.copy_(torch.randn(40, generator=rng).double().abs() * 1e7 + 1e7)
        first.bias[20:] = first.bias[:20]
        last.weight[0, :20] = torch.randn(20, generator=rng).double()
        last.weight[0, 20:] = -last.weight[0, :20]
        last.bias.zero_()
    return nn.Sequential(first, nn.ReLU(), last)


def test_rounding_is_charged_for():
    """The output is 0 for every input, in exact numbers: only bounds that know of rounding stay at or below it."""
    wrong_without = 0
    for seed in range(20):
        graph = from_torch(cancelling(seed), (2,)).frozen()
        x = torch.rand(1, 2, generator=torch.Generator().manual_seed(seed)).double()
        region = Region(x, x)
        costs = costs_of(graph, region)
        before = bounds_before(graph, region, costs)
        for sign in (1.0, -1.0):
            a = torch.tensor([[[sign]]]).double()
            sound = sweep(graph, region, len(graph.steps), a, before, costs=costs).bound
            assert float(sound) <= 0
            assert float(sound) > -1e-3
            wrong_without += float(sweep(graph, region, len(graph.steps), a, before).bound) > 0
    assert wrong_without > 0  # or this test shows nothing


@settings(max_examples=60, deadline=None)
@given(st.floats(-8, 8), st.floats(1e-9, 12), st.sampled_from(["sigmoid", "tanh"]), st.floats(0, 1), st.floats(0, 1))
def test_lines_stay_on_their_side_of_an_s(low, width, kind, first, second):
    op = SShape(kind)
    steep = 0.25 if kind == "sigmoid" else 1.0
    low, high = (torch.tensor([[v]], dtype=torch.float64) for v in (low, low + width))
    slopes = torch.tensor([first, second]).double().view(1, 1, 2, 1) * steep
    z = low + (high - low) * torch.linspace(0, 1, 3001).double()
    for lines in (s_lines(op, low, high), s_lines(op, low, high, slopes)):
        value = op.forward(z)
        assert bool((lines.low_slope.reshape(1, 1) * z + lines.low_shift.reshape(1, 1) <= value).all())
        assert bool((value <= lines.high_slope.reshape(1, 1) * z + lines.high_shift.reshape(1, 1)).all())


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_the_chord_of_a_relu_is_above_it_in_exact_numbers(a, b):
    low, high = min(a, b), max(a, b)
    lines = relu_lines(*(torch.tensor([[v]], dtype=torch.float64) for v in (low, high)))
    slope, shift = Fraction(lines.high_slope.item()), Fraction(lines.high_shift.item())
    for z in (Fraction(low), Fraction(high), *((Fraction(0),) if low <= 0 <= high else ())):
        assert slope * z + shift >= max(z, Fraction(0))


def test_intervals_can_be_trained_through_and_are_those_of_the_module_as_it_is():
    net = mlp(3, 5, 2)
    x = torch.rand(4, 3)
    low, high = interval_bounds(net, x - 0.1, x + 0.1)
    (high - low).sum().backward()
    assert bool(net[0].weight.grad.any())
    assert bool((low <= net(x)).all())
    assert bool((net(x) <= high).all())
    with torch.no_grad():
        net[0].weight.mul_(2)
    assert not torch.equal(low, interval_bounds(net, x - 0.1, x + 0.1)[0])
