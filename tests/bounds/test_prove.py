"""Complete answers: against Marabou, against planted truths, against the clock."""

import sys

import pytest
import torch
from torch import nn

from redoubt.bounds import Case, Effort, Region, from_torch, misclassified, prove
from redoubt.bounds.complete import boxes
from redoubt.bounds.complete.cases import side_by_side
from redoubt.bounds.complete.falsify import Descent, falsify, gaps
from redoubt.bounds.complete.trials import into_float32
from redoubt.records import Norm
from small_networks import NETS, mlp


def box(x, radius):
    x = torch.as_tensor(x, dtype=torch.float64).reshape(1, -1)
    return Region(x - radius, x + radius)


def case_of(region, row, limit):
    return Case(region, torch.tensor([row], dtype=torch.float64), torch.tensor([limit], dtype=torch.float64))


def least_sampled(graph, region, row, count=100_000):
    rng = torch.Generator().manual_seed(5)
    unit = torch.rand(count, graph.size, generator=rng, dtype=torch.float64)
    unit[::2] = unit[::2].round()
    x = region.lower + unit * (region.upper - region.lower)
    return float((graph.frozen()(x) @ torch.tensor(row, dtype=torch.float64)).min())


@pytest.fixture(params=["boxes", "splits"])
def _branching(request, monkeypatch):
    monkeypatch.setattr(
        "redoubt.bounds.complete.prove.MOST_INPUTS", boxes.MOST_INPUTS if request.param == "boxes" else 0
    )


@pytest.mark.usefixtures("_branching")
@pytest.mark.parametrize("name", ["mlp", "leaky", "clipped", "sequence"])
def test_both_ways_of_branching_find_the_least_output(name):
    """Bisect on the limit: proved below the true minimum, a counterexample above it, and the gap is small."""
    net, shape = NETS[name]
    graph = from_torch(net, shape)
    region = box(torch.rand(graph.size, generator=torch.Generator().manual_seed(0)), 0.3)
    row = [1.0, -1.0, 0.0][: graph.outputs]
    sampled = least_sampled(graph, region, row)
    low, high = sampled - 0.5, sampled
    assert prove(graph, [case_of(region, row, high + 1e-6)]).answer == "counterexample"
    assert prove(graph, [case_of(region, row, low)], Effort(parts=4000)).answer == "proved"
    for _ in range(8):
        middle = (low + high) / 2
        proof = prove(graph, [case_of(region, row, middle)], Effort(parts=4000))
        assert proof.answer != "unknown"
        low, high = (middle, high) if proof.answer == "proved" else (low, middle)
    assert high - low < 0.003


def marabou(net, region, row, limit):
    from maraboupy import Marabou, MarabouCore

    query, names = MarabouCore.InputQuery(), iter(range(10**6))
    count = sum(2 * part.out_features for part in net if isinstance(part, nn.Linear)) + region.lower.shape[1]
    query.setNumberOfVariables(count)
    current = [next(names) for _ in range(region.lower.shape[1])]
    for at, variable in enumerate(current):
        query.setLowerBound(variable, float(region.lower[0, at]))
        query.setUpperBound(variable, float(region.upper[0, at]))
        query.markInputVariable(variable, at)
    for part in net:
        if isinstance(part, nn.Linear):
            after = [next(names) for _ in range(part.out_features)]
            for weights, bias, variable in zip(part.weight.tolist(), part.bias.tolist(), after, strict=True):
                equation = MarabouCore.Equation()
                for weight, given in zip(weights, current, strict=True):
                    equation.addAddend(weight, given)
                equation.addAddend(-1.0, variable)
                equation.setScalar(-bias)
                query.addEquation(equation)
        else:
            after = [next(names) for _ in current]
            for given, variable in zip(current, after, strict=True):
                MarabouCore.addReluConstraint(query, given, variable)
        current = after
    equation = MarabouCore.Equation(MarabouCore.Equation.LE)
    for factor, variable in zip(row, current, strict=True):
        if factor:
            equation.addAddend(factor, variable)
    equation.setScalar(limit)
    query.addEquation(equation)
    return MarabouCore.solve(query, Marabou.createOptions(verbosity=0, timeoutInSeconds=20), "")[0]


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="maraboupy has no wheel for it")
@pytest.mark.filterwarnings("ignore:Tensorflow")
@pytest.mark.parametrize("seed", range(12))
def test_marabou_gives_the_same_answers(seed):
    pytest.importorskip("maraboupy", reason="maraboupy is not installed")
    inputs = 3 + seed % 2 * 11  # boxes are halved, or ReLUs split
    net = mlp(inputs, 8, 8, 3, seed=seed, gain=2.0)
    graph = from_torch(net, (inputs,))
    region = box(torch.rand(inputs, generator=torch.Generator().manual_seed(seed)), 0.5)
    row = [1.0, -1.0, 0.0]
    limit = least_sampled(graph, region, row) + [-0.4, -0.1, -0.02, 0.05][seed % 4]
    answer = prove(graph, [case_of(region, row, limit)], Effort(parts=5000)).answer
    wanted = marabou(net, region, row, limit)
    if wanted in ("sat", "unsat"):
        assert answer == {"sat": "counterexample", "unsat": "proved"}[wanted]


def test_several_conditions_must_be_met_at_once():
    """|x| as relu(x) + relu(-x): each half-line is reached, both are not."""
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU())
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        net[0].bias.zero_()
    graph = from_torch(net, (1,))
    rows = -torch.eye(2, dtype=torch.float64)
    region = box([0.0], 1.0)
    half = torch.tensor([-0.25, -0.25], dtype=torch.float64)
    assert prove(graph, [Case(region, rows[:1], half[:1])]).answer == "counterexample"
    assert prove(graph, [Case(region, rows[1:], half[1:])]).answer == "counterexample"
    assert prove(graph, [Case(region, rows, half)]).answer == "proved"


def test_a_linear_program_settles_what_splits_leave_over(monkeypatch):
    """Without input boxes, both conditions together need every ReLU fixed, and then both rows weighed."""
    monkeypatch.setattr("redoubt.bounds.complete.prove.MOST_INPUTS", 0)
    test_several_conditions_must_be_met_at_once()


def test_a_counterexample_in_a_needle_is_found():
    """A bump of width 1e-4 in one dimension: no gradient leads there, the branches do."""
    net = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        net[0].weight.copy_(torch.full((3, 1), 1e4))
        net[0].bias.copy_(torch.tensor([-2999.0, -3000.0, -3001.0]))
        net[2].weight.copy_(torch.tensor([[1.0, -2.0, 1.0]]))
        net[2].bias.zero_()
    graph, region = from_torch(net, (1,)), box([0.5], 0.5)
    proof = prove(graph, [case_of(region, [-1.0], -0.5)])
    assert proof.answer == "counterexample"
    assert abs(float(proof.x) - 0.3) < 1e-4
    assert prove(graph, [case_of(region, [-1.0], -1.1)]).answer == "proved"


def test_classes_and_balls():
    net = mlp(6, 10, 4, seed=2)
    x = torch.rand(1, 6).double()
    graph = from_torch(net, (6,))
    label = int(net(x.float()).argmax())
    assert prove(graph, misclassified(box(x, 1e-4), label, 4)).answer == "proved"
    assert prove(graph, misclassified(box(x, 1e-4), (label + 1) % 4, 4)).answer == "counterexample"
    ball = Region(x - 0.01, x + 0.01, x, 0.01, Norm.L2)
    assert prove(graph, misclassified(ball, label, 4)).answer == "proved"


@pytest.mark.parametrize("norm", [Norm.L2, Norm.L1])
def test_a_counterexample_in_a_ball_lies_in_it(norm):
    net = mlp(20, 10, 3, seed=4)
    x = torch.rand(1, 20).double()
    label = int(net(x.float()).argmax())
    region = Region(x - 30.0, x + 30.0, x, 30.0, norm)
    proof = prove(from_torch(net, (20,)), misclassified(region, label, 3))
    assert proof.answer == "counterexample"
    assert float(region.length(proof.x[None].double() - x)) <= 30.0
    assert int(net(proof.x[None]).argmax()) != label


@pytest.mark.parametrize("name", ["tanh", "residual", "pools"])
def test_other_activations_are_proved_within_their_reach_and_never_wrongly(name):
    net, shape = NETS[name]
    graph = from_torch(net, shape)
    region = box(torch.rand(graph.size, generator=torch.Generator().manual_seed(0)), 0.05)
    row = [1.0, -1.0, 0.0][: graph.outputs]
    least = least_sampled(graph, region, row, 20_000)
    assert prove(graph, [case_of(region, row, least + 0.01)], Effort(parts=500)).answer != "proved"
    assert prove(graph, [case_of(region, row, least - 1.0)], Effort(parts=500)).answer == "proved"


def test_who_has_no_time_gets_no_answer_and_nothing_half_claimed():
    net = mlp(30, 40, 40, 2, gain=3.0)
    graph, region = from_torch(net, (30,)), box(torch.rand(30), 0.5)
    aim = side_by_side([case_of(region, [1.0, -1.0], 0.0)])
    nearest = falsify(graph.frozen(), aim, Descent(starts=64, steps=100), lambda: False)
    least = float(gaps(graph.frozen(), aim, nearest[:, None]))
    hard = case_of(region, [1.0, -1.0], least - 0.3)
    assert prove(graph, [hard], Effort(stop=lambda: True, search=None)).why == "stopped"
    spent = prove(graph, [hard], Effort(parts=10, search=None))
    assert (spent.answer, spent.why, spent.x) == ("unknown", "parts", None)
    assert spent.parts < 200


def test_a_model_that_does_not_confirm_gets_no_counterexample():
    """The model as deployed answers otherwise than its graph: what the graph finds is not believed."""
    net = mlp(3, 4, 2)
    graph, region = from_torch(net, (3,)), box(torch.rand(3), 0.1)
    easy = case_of(region, [1.0, 0.0], 100.0)
    assert prove(graph, [easy]).answer == "counterexample"
    stubborn = prove(graph, [easy], Effort(parts=500), run=lambda x: torch.full((len(x), 2), 1e6))
    assert stubborn.answer == "unknown"


def test_numbers_that_are_none_prove_nothing():
    net = mlp(3, 4, 2)
    with torch.no_grad():
        net[2].bias[0] = torch.nan
    region = box(torch.rand(3), 0.1)
    assert prove(from_torch(net, (3,)), [case_of(region, [1.0, 0.0], -1e9)], Effort(parts=50)).answer == "unknown"


def test_cases_that_do_not_fit_are_refused():
    graph, region = from_torch(mlp(3, 4, 2), (3,)), box(torch.rand(3), 0.1)
    with pytest.raises(ValueError, match="no case"):
        prove(graph, [])
    with pytest.raises(ValueError, match="2 inputs"):
        prove(graph, [case_of(box([0.0, 0.0], 1.0), [1.0, 0.0], 0.0)])
    with pytest.raises(ValueError, match="above its upper"):
        prove(graph, [case_of(Region(region.upper, region.lower), [1.0, 0.0], 0.0)])
    with pytest.raises(ValueError, match="without an end"):
        prove(graph, [case_of(box([0.0] * 3, float("inf")), [1.0, 0.0], 0.0)])


def test_points_are_rounded_into_the_box():
    lower, upper = torch.tensor([[0.1]], dtype=torch.float64), torch.tensor([[0.3]], dtype=torch.float64)
    for end in (lower, upper):
        single = into_float32(end, lower, upper).double()
        assert bool(((single >= lower) & (single <= upper)).all())
        assert float((single - end).abs()) < 1e-7
