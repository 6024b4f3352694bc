"""The fast path is DP-SGD: its gradients are the naive ones, its noise has its scale, and planted bugs are caught."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chi2

from redoubt.harden.private import linear
from redoubt.harden.private.general import train_general
from redoubt.harden.private.linear import add_noise, clipped_sum, train_linear
from redoubt.harden.private.plan import Plan
from redoubt.harden.private.randomness import PrivateRandom
from redoubt.harden.private.sampling import Poisson, Shuffled
from redoubt.records import DataError, Fault, ModelError, PolicyError

PLAN = Plan(rate=0.2, noise_multiplier=1.0, steps=10, clip=0.5, learning_rate=0.5)


def data(rows=400, width=12, classes=4, seed=0):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, width, generator=rng)
    y = (x @ torch.randn(width, classes, generator=rng)).argmax(1)
    return x, y


def naive(parameters, x, y, rows, clip):
    """Algorithm 1 of Abadi et al. 2016, word for word."""
    total = torch.zeros_like(parameters)
    for row in rows:
        own = parameters.clone().requires_grad_()
        logits = own[:, :-1] @ x[row] + own[:, -1]
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits[None], y[row : row + 1]), own)
        total += gradient / max(1.0, float(gradient.norm()) / clip)
    return total


@pytest.mark.parametrize("clip", [1e-3, 0.5, 3.0, 1e6])
def test_the_clipped_sum_is_that_of_the_loop_over_records(clip):
    x, y = data()
    parameters = torch.randn(4, 13, generator=torch.Generator().manual_seed(1))
    rows = torch.arange(0, 400, 3)
    ours = clipped_sum(parameters, x, y, x.square().sum(1), rows, clip)
    theirs = naive(parameters, x, y, rows, clip)
    assert float((ours - theirs).abs().max()) <= 1e-5 * max(1.0, float(theirs.abs().max()))


def test_one_record_never_moves_the_sum_further_than_the_clip():
    x, y = data()
    x[7] *= 1e30
    parameters = torch.randn(4, 13) * 1e3
    rows = torch.arange(400)
    squares = x.square().sum(1)
    with_it = clipped_sum(parameters, x, y, squares, rows, 0.5)
    without = clipped_sum(parameters, x, y, squares, rows[rows != 7], 0.5)
    assert float((with_it - without).norm()) <= 0.5 * (1 + 1e-3)
    assert with_it.isfinite().all()


# ── the noise ────────────────────────────────────────────────────────────────────────────────────────────────────


def noise_is(deviation, draw, times=40):
    """Whether noise drawn so often is likely to have this standard deviation: two-sided, at 1e-6."""
    drawn = torch.stack([draw() for _ in range(times)]).double().flatten()
    at = chi2.cdf(float(drawn.square().sum()) / deviation**2, len(drawn))
    return 1e-6 < at < 1 - 1e-6


def through_training(plan, train=train_linear):
    """The noise of one step of training on records whose gradients are nothing: all features 0, all of one class."""
    x, y = torch.zeros(100, 30), torch.zeros(100, dtype=torch.int64)
    one = dataclasses.replace(plan, steps=1, momentum=0.0, rate=1.0)

    def draw():
        trained = train(x, y, 3, one)
        return trained.weight.detach() * 100 / plan.learning_rate

    return draw


def test_the_noise_has_its_scale_and_neither_two_thirds_nor_three_halves_of_it():
    plan = dataclasses.replace(PLAN, noise_multiplier=2.5, clip=0.3)
    true = plan.noise_multiplier * plan.clip
    draw = through_training(plan)
    assert noise_is(true, draw)
    assert not noise_is(true * 2 / 3, draw)
    assert not noise_is(true * 3 / 2, draw)


def test_planted_noise_that_is_not_scaled_by_the_clip_is_caught(monkeypatch):
    plan = dataclasses.replace(PLAN, noise_multiplier=2.5, clip=0.3)
    monkeypatch.setattr(linear, "add_noise", lambda gradient, _deviation, random: add_noise(gradient, 2.5, random))
    assert not noise_is(2.5 * 0.3, through_training(plan))


def test_planted_clipping_of_the_batch_is_caught():
    """Clipping the mean of the batch, instead of each record, lets one record move everything."""
    x, y = data()
    parameters = torch.zeros(4, 13)
    rows = torch.arange(400)

    def per_batch(rows):
        total = clipped_sum(parameters, x, y, x.square().sum(1), rows, 1e9) / len(rows)
        return total / max(1.0, float(total.norm()) / 0.05) * len(rows)

    def moves(summed):
        return max(float((summed(rows) - summed(rows[rows != row])).norm()) for row in range(0, 400, 10))

    assert moves(lambda rows: clipped_sum(parameters, x, y, x.square().sum(1), rows, 0.05)) <= 0.05 * 1.001
    assert moves(per_batch) > 0.05 * 1.5


def test_a_gaussian_is_the_sum_of_four_of_which_no_two_come_from_one_radius(monkeypatch):
    for at in range(12):  # the first half of the uniforms are radii, and only one of them is above 0
        uniforms = torch.cat([torch.ones(12).double(), torch.rand(12).double()])
        uniforms[at] = 0.5
        monkeypatch.setattr(PrivateRandom, "_uniforms", lambda self, count, given=uniforms: given.clone())
        drawn = PrivateRandom().gaussians(6)
        assert int((drawn.abs() > 1e-12).sum()) == 2


def test_gaussians_are_gaussian_and_no_two_streams_are_alike():
    from scipy.stats import kstest

    drawn = PrivateRandom().gaussians(20001)
    assert len(drawn) == 20001
    assert kstest(drawn.numpy(), "norm").pvalue > 1e-6
    assert kstest(drawn.numpy() * 1.1, "norm").pvalue < 1e-6
    assert (PrivateRandom().gaussians(8) != PrivateRandom().gaussians(8)).all()
    assert (PrivateRandom.insecure(3).gaussians(8) == PrivateRandom.insecure(3).gaussians(8)).all()
    one = PrivateRandom()
    assert (one.gaussians(8) != one.gaussians(8)).all()


def test_noise_does_not_come_from_a_seeded_generator_unless_asked_for_by_name():
    x, y = data()

    def weights(**asked):
        torch.manual_seed(0)
        return train_linear(x, y, 4, PLAN, **asked).weight

    assert not torch.equal(weights(), weights())
    assert torch.equal(weights(insecure_seed=5), weights(insecure_seed=5))
    assert not torch.equal(weights(insecure_seed=5), weights(insecure_seed=6))


# ── the sampler ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_poisson_sampling_draws_each_record_by_itself_at_its_rate():
    random = PrivateRandom.insecure(0)
    drawn = torch.zeros(400, 500)
    for step, rows in enumerate(Poisson(0.1).batches(500, 400, random)):
        drawn[step, rows] = 1
    sizes = [int(size) for size in drawn.sum(1)]
    from redoubt.harden.private.sampling import must_be_poisson

    must_be_poisson(sizes, 500, 0.1)
    each = drawn.mean(0)
    assert float(each.min()) > 0.02
    assert float(each.max()) < 0.2
    together = (drawn[:, 0::2] * drawn[:, 1::2]).mean()
    assert abs(float(together) - 0.01) < 0.002
    with pytest.raises(Fault):
        must_be_poisson(sizes, 500, 0.1 * 2 / 3)
    with pytest.raises(Fault):
        must_be_poisson(sizes, 500, 0.1 * 3 / 2)


@dataclasses.dataclass(frozen=True)
class FixedSize:
    """Says that it draws record by record, and does not."""

    rate: float = 0.2

    def batches(self, records, steps, random):
        yield from Shuffled(int(records * self.rate)).batches(records, steps, random)


@dataclasses.dataclass(frozen=True)
class Thrice(Poisson):
    """Draws three times as many as it says."""

    def batches(self, records, steps, random):
        yield from Poisson(3 * self.rate).batches(records, steps, random)


@pytest.mark.parametrize("train", [train_linear, train_general])
@pytest.mark.parametrize(
    ("sampler", "family", "says"),
    [
        (Shuffled(80), PolicyError, "each record by itself"),
        (Poisson(0.1), PolicyError, "0.1"),
        (FixedSize(), Fault, "Poisson"),
        (Thrice(0.2), Fault, "Poisson"),
    ],
)
def test_a_sampler_that_does_not_match_the_accountant_is_refused(train, sampler, family, says):
    x, y = data()
    plan = dataclasses.replace(PLAN, steps=60)
    model = 4 if train is train_linear else torch.nn.Linear(12, 4)
    args = (x, y, model) if train is train_linear else (model, x, y)
    with pytest.raises(family, match=says) as caught:
        train(*args, plan, sampler=sampler)
    assert caught.value.remedy


# ── what comes out ───────────────────────────────────────────────────────────────────────────────────────────────


def test_training_learns_and_leaves_its_event():
    x, y = data(rows=3000)
    plan = Plan(rate=0.1, noise_multiplier=1.0, steps=60, clip=1.0, learning_rate=2.0, average=0.5)
    trained = train_linear(x, y, 4, plan, insecure_seed=0)
    assert trained.accuracy(x, y) > 0.9
    (event,) = trained.events
    assert (event.rate, event.noise_multiplier, event.steps, event.on) == (0.1, 1.0, 60, "everyone")


@pytest.mark.parametrize("clipping", ["hooks", "ghost"])
def test_opacus_takes_the_same_course_and_leaves_the_same_ledger(clipping):
    x, y = data()
    plan = dataclasses.replace(PLAN, noise_multiplier=1e-2, rate=0.3)
    module = torch.nn.Linear(12, 4)
    torch.nn.init.zeros_(module.weight)
    torch.nn.init.zeros_(module.bias)
    events = train_general(module, x, y, plan, clipping=clipping, at_once=50, insecure_seed=0)
    fast = train_linear(x, y, 4, plan, insecure_seed=0)
    assert [event.model_copy(update={"what": ""}) for event in events] == [
        event.model_copy(update={"what": ""}) for event in fast.events
    ]
    # The same noise falls on other coordinates, so it is small here and the courses are near.
    assert float((module.weight.detach() - fast.weight).norm()) < 0.05 * float(fast.weight.norm())


@pytest.mark.parametrize("clipping", ["hooks", "ghost"])
def test_opacus_noise_has_its_scale_too(clipping):
    plan = dataclasses.replace(PLAN, noise_multiplier=2.5, clip=0.3)

    def train(x, y, classes, one):
        module = torch.nn.Linear(x.shape[1], classes)
        torch.nn.init.zeros_(module.weight)
        train_general(module, x, y, one, clipping=clipping)
        return module

    draw = through_training(plan, train)
    assert noise_is(2.5 * 0.3, draw)
    assert not noise_is(2.5 * 0.3 * 2 / 3, draw)


def test_a_step_that_nobody_enters_is_taken_on_noise_alone():
    x, y = data(rows=3)
    plan = Plan(rate=1e-6, noise_multiplier=1.0, steps=3, clip=1.0, learning_rate=1e-6)
    assert train_linear(x, y, 4, plan).weight.abs().sum() > 0
    module = torch.nn.Linear(12, 4)
    before = module.weight.clone()
    assert train_general(module, x, y, plan)[0].steps == 3
    assert not torch.equal(before, module.weight)


def test_a_model_that_mixes_records_is_refused():
    x, y = data()
    with pytest.raises(ModelError, match="BatchNorm"):
        train_general(torch.nn.Sequential(torch.nn.Linear(12, 4), torch.nn.BatchNorm1d(4)), x, y, PLAN)


@pytest.mark.parametrize(
    "broken",
    [
        lambda x, y: (x[:0], y[:0]),
        lambda x, y: (x[:5], y),
        lambda x, y: (x, y + 1),
        lambda x, y: (x.double(), y),
        lambda x, y: (x.index_fill(0, torch.tensor([3]), float("nan")), y),
    ],
)
def test_data_that_cannot_be_trained_on_are_refused(broken):
    with pytest.raises(DataError) as caught:
        train_linear(*broken(*data()), 4, PLAN)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "change",
    [{"rate": 0.0}, {"rate": 1.1}, {"noise_multiplier": 0.0}, {"steps": 0}, {"clip": float("nan")}, {"momentum": 1.0}],
)
def test_a_plan_without_a_guarantee_is_refused(change):
    with pytest.raises(PolicyError, match=next(iter(change))):
        dataclasses.replace(PLAN, **change)
