"""Teachers smoothed over a graph of public inputs say more, and still hang on their own records only."""

import pytest
import torch

from redoubt.harden.pate import Graph, Principal, Smoothed, cast_votes, partition
from redoubt.harden.pate.aggregate import histogram
from redoubt.records import DataError


def rings(rows, seed):
    """Two rings, one in the other, in a plane of a space of ten dimensions; labels."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(rows) % 2
    angle = 6.2832 * torch.rand(rows, generator=rng)
    flat = (1 + y).unsqueeze(1) * torch.stack([angle.cos(), angle.sin()], dim=1)
    plane = torch.linalg.qr(torch.randn(10, 2, generator=torch.Generator().manual_seed(7))).Q
    return flat @ plane.T + 0.02 * torch.randn(rows, 10, generator=rng), y


@pytest.fixture(scope="module")
def graph():
    public, truth = rings(600, 1)
    axes = Principal.of(public, 2, torch.Generator().manual_seed(0))
    return axes, Graph.of(axes(public)), truth


def test_principal_directions_keep_what_varies_and_leave_torch_s_numbers_alone(graph):
    public, _ = rings(600, 1)
    before = torch.random.get_rng_state()
    axes = Principal.of(public, 2, torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.allclose(axes.axes.T @ axes.axes, torch.eye(2), atol=1e-5)
    assert float(axes(public).square().sum() / (public - public.mean(0)).square().sum()) > 0.99


def test_ties_are_symmetric_few_and_none_to_itself(graph):
    _, of_public, _ = graph
    ties = of_public.ties.toarray()
    assert abs(ties - ties.T).max() < 1e-6
    assert ties.diagonal().max() == 0
    assert ((ties > 0).sum(1) >= 10).all()
    assert abs(torch.linalg.eigvalsh(torch.from_numpy(ties)).max().item() - 1) < 1e-4


def test_what_lies_among_others_is_the_most_typical():
    points = torch.cat([torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), torch.full((1, 3), 9.0)])
    assert int(Graph.of(points).apart.argmax()) == 50


def test_smoothed_teachers_know_the_rings_of_which_each_has_seen_little(graph, tmp_path):
    axes, of_public, truth = graph
    x, y = rings(240, 2)
    parts = partition(len(y), 20, torch.Generator().manual_seed(0))
    shares = {}
    for steps in (0, 100):
        teach = Smoothed(of_public, 2, reach=0.05, passed=0.99, steps=steps)
        votes = cast_votes(parts, axes(x), y, of_public.points, teach, 2, tmp_path, f"{steps} steps")
        shares[steps] = float((votes == truth).double().mean())
    assert shares[100] > shares[0] + 0.05
    assert float((histogram(votes, 2).argmax(1) == truth).double().mean()) > 0.97


def test_a_teacher_is_asked_about_its_graph_only(graph):
    axes, of_public, _ = graph
    x, y = rings(20, 3)
    with pytest.raises(DataError, match="not those of the graph"):
        Smoothed(of_public, 2)(axes(x), y, axes(x))
    with pytest.raises(DataError, match="make no graph"):
        Graph.of(torch.zeros(10, 2))
