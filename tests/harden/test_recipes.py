"""Each recipe trains, does what its paper says, and costs the passes that it says."""

import copy
import importlib

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, nn

from redoubt.data import Dataset
from redoubt.harden.count import Count
from redoubt.harden.course import begin
from redoubt.harden.inner import Task, ascend, cross_entropy, steepest, worst_of, worst_points
from redoubt.harden.inner.union import starts_for
from redoubt.harden.losses.mart import mart
from redoubt.harden.losses.trades import drift, trades
from redoubt.harden.overfitting import overfitted
from redoubt.harden.schedule import grown, rate
from redoubt.harden.train import Training, train
from redoubt.harden.voting import Voting, alone
from redoubt.harden.weights import follow, restored, unmoved
from redoubt.models import Face, TorchModel
from redoubt.perturb import L1Ball, L2Ball, LinfBall, Turn, Union
from redoubt.records import PolicyError, Recipe

FACE = Face((1, 6, 6), 0.0, 1.0, 3)
LINF, L2 = LinfBall(0.1, 0.0, 1.0), L2Ball(0.6, 0.0, 1.0)


class Net(nn.Module):
    """Two layers; counts the examples that went through it."""

    def __init__(self):
        super().__init__()
        self.seen = 0
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 3))

    def forward(self, x):
        self.seen += len(x)
        return self.layers(x)


def blobs(many, seed=0):
    """Images of three classes: a bright band at the top, in the middle or at the bottom, under noise."""
    rng = Generator().manual_seed(seed)
    y = torch.arange(many) % 3
    x = 0.3 * torch.rand(many, 1, 6, 6, generator=rng)
    for row, label in enumerate(y.tolist()):
        x[row, 0, 2 * label : 2 * label + 2] += 0.4
    return Dataset(x.clamp(0, 1), y, "blobs", "sha256:0")


def trained(recipe, within=LINF, many=96, net=None, static=()):
    torch.manual_seed(0)
    model = TorchModel(net or Net(), FACE)
    course = begin(model, recipe)
    training = Training(blobs(many), blobs(60, seed=1), within, recipe, seed=3, static=static)
    history = list(train(course, training))
    return course, history


def state(course):
    return {name: value.clone() for name, value in course.shown.module.state_dict().items()}


# ── every recipe learns, and counts what it costs ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("keys", "within", "forwards", "backwards"),
    [
        ({"steps": 3}, LINF, 4, 4),
        ({"steps": 3, "clean_share": 0.5}, LINF, 5, 5),
        ({"steps": 1, "step": 1.25}, LINF, 2, 2),
        ({"steps": 3, "loss": "trades"}, LINF, 1 + 3 + 2, 3 + 2),
        ({"steps": 3, "loss": "mart"}, LINF, 3 + 2, 3 + 2),
        ({"steps": 3, "weight_perturbation": 0.01}, LINF, 3 + 2, 3 + 2),
        ({"attack": "free", "replays": 4}, LINF, 4, 4),
        ({"attack": "worst-of-k", "tries": 5}, Turn(20, 1, 0.0, 1.0), 5 + 1, 1),
        ({"steps": 3, "unions": "random"}, Union((LINF, L2)), 4, 4),
        ({"steps": 3, "unions": "worst"}, Union((LINF, L2)), 2 * 3 + 2 + 1, 2 * 3 + 1),
        ({"steps": 3, "unions": "average"}, Union((LINF, L2)), 2 * 3 + 2, 2 * 3 + 2),
        ({"steps": 3, "unions": "steepest"}, Union((LINF, L2)), 3 * (1 + 2) + 1, 3 + 1),
    ],
)
def test_a_recipe_learns_and_its_passes_are_counted(keys, within, forwards, backwards):
    recipe = Recipe(epochs=6, warmup=0, batch=32, learning_rate=1e-2, schedule="triangle", **keys)
    course, history = trained(recipe, within)
    assert history[-1].robust > (0.6 if isinstance(within, Turn) else 0.8)  # a third by chance
    assert course.count == Count(forwards * 96 * 6, backwards * 96 * 6)


def test_the_count_of_forward_passes_is_what_went_through_the_network():
    recipe = Recipe(epochs=2, warmup=0, batch=32, steps=3, loss="trades")
    net = Net()
    course, _ = trained(recipe, net=net)
    watched = 2 * 2 * 60 * (1 + 6 + 1)  # held out and as many trained on: as they are, six steps, worst
    assert net.seen == course.count.forwards + watched


def test_an_ensemble_finds_its_points_on_the_static_models_as_well():
    asked = []

    class Asked(Net):
        def forward(self, x):
            asked.append(len(x))
            return super().forward(x)

    static = TorchModel(Asked().eval().requires_grad_(False), FACE)
    before = copy.deepcopy(static.module.state_dict())
    recipe = Recipe(
        attack="ensemble",
        static=({"source": "torch:a:b"},),
        steps=1,
        clean_share=0.5,
        epochs=8,
        warmup=0,
        batch=32,
        learning_rate=1e-2,
    )
    _, history = trained(recipe, static=(static,))
    share = sum(asked) / (8 * 96)
    assert 0.2 < share < 0.8  # one of two models, by chance, for each of 24 batches
    assert all(torch.equal(before[name], value) for name, value in static.module.state_dict().items())
    assert history[-1].robust > 0.8


# ── inner maximisers ─────────────────────────────────────────────────────────────────────────────────────────────


def task(objective=None, x=None):
    data = blobs(30)
    torch.manual_seed(1)
    model = TorchModel(Net().requires_grad_(False), FACE)
    return Task(model.logits, objective or cross_entropy(data.y), data.x, Generator().manual_seed(0), Count())


def test_ascent_raises_the_objective_and_stays_inside():
    one = task()
    start = LINF.sample(one.x, Generator().manual_seed(0))
    worst = ascend(one, LINF, start, [0.5] * 5)
    assert LINF.contains(one.x, worst).all()
    assert (one.value(worst) > one.value(start)).all()


def test_falling_steps_cross_the_set_first_and_settle_then():
    lengths = Recipe(steps=4, falling=True).step_lengths(4)
    assert lengths == (2.0, 1.5, 1.0, 0.5)
    assert Recipe(steps=4, falling=True).step_lengths(8)[-1] == 0.25
    assert Recipe(steps=4).step_lengths(4) == (0.625,) * 4
    assert Recipe(steps=4, step=1.0).step_lengths(8) == (2.5 / 8,) * 8  # raised: the length no longer fits


def test_falling_steps_find_worse_points_far_off():
    """The loss rises gently at first, and steeply where short steps do not come to."""

    def logits(x):
        at = x.flatten(1).sum(dim=1)
        return torch.stack([torch.zeros_like(at), torch.where(at > -1.2, -0.1 * at, -2 * at - 2.28)], dim=1)

    x, y = torch.zeros(1, 1, 1, 1), torch.zeros(1, dtype=torch.int64)
    one = Task(logits, cross_entropy(y), x, Generator().manual_seed(0), Count())
    ball, start = L2Ball(2.0, -9.0, 9.0), torch.full((1, 1, 1, 1), 0.1)
    value = {
        falling: float(one.value(ascend(one, ball, start, Recipe(steps=2, falling=falling, **keys).step_lengths(2))))
        for falling, keys in ((True, {}), (False, {"step": 0.2}))
    }
    assert value[True] > value[False] + 0.5


def test_a_length_of_equal_steps_has_no_effect_on_falling_ones():
    with pytest.raises(ValueError, match="step has no effect here"):
        Recipe(step=0.5, falling=True)


def test_the_worst_of_k_is_the_worst_for_each_input():
    one, turn = task(), Turn(30, 1, 0.0, 1.0)
    starts = starts_for(one.x, Generator().manual_seed(0), slice(None))(turn, 6)
    values = torch.stack([one.value(turn.render(one.x, point)) for point in starts])
    assert torch.allclose(one.value(worst_of(one, turn, starts)), values.amax(dim=0), atol=1e-6)
    assert len(values.argmax(dim=0).unique()) > 1


def test_the_worst_member_of_a_union_is_as_bad_as_any_and_differs_between_inputs():
    one, union = task(), Union((LINF, L2))
    recipe = Recipe(steps=4, unions="worst")

    def draw(seed):
        return starts_for(one.x, Generator().manual_seed(seed), slice(None))

    (worst,) = worst_points(one, union, recipe, 4, draw(0))
    each = worst_points(one, union, Recipe(steps=4, unions="average"), 4, draw(0))
    values = torch.stack([one.value(point) for point in each])
    assert torch.allclose(one.value(worst), values.amax(dim=0), atol=1e-6)


def test_steepest_ends_in_one_of_the_members_and_does_better_than_the_weakest():
    one, balls = task(), (LINF, L2, L1Ball(2.0, 0.0, 1.0))
    start = LINF.sample(one.x, Generator().manual_seed(0))
    worst = steepest(one, balls, start, [0.5] * 5)
    inside = torch.stack([ball.contains(one.x, worst) for ball in balls])
    assert inside.any(dim=0).all()
    alone_ = [one.value(ascend(one, ball, ball.start(one.x), [0.5] * 5)).mean() for ball in balls]
    assert one.value(worst).mean() > min(alone_)


def test_steepest_refuses_what_is_no_norm_ball():
    one = task()
    with pytest.raises(PolicyError, match="norm balls only"):
        steepest(one, (LINF, Turn(10, 1, 0.0, 1.0)), one.x, [1.0] * 2)


def test_trades_starts_beside_the_input_where_the_drift_has_no_slope():
    one = task()
    objective = drift(one.logits(one.x))
    flat = Task(one.logits, objective, one.x, one.rng, Count())
    assert flat.slope(LINF, one.x).abs().max() < 1e-6
    near = starts_for(one.x, Generator().manual_seed(0), slice(None), spread=0.01)(LINF, 1)[0]
    assert 0 < (near - one.x).abs().max() <= 0.001 + 1e-6
    assert flat.value(ascend(flat, LINF, near, [0.5] * 5)).mean() > flat.value(near).mean() + 1e-4


# ── losses ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_trades_is_cross_entropy_where_the_answers_do_not_move_and_grows_with_beta_where_they_do():
    clean, y = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([0])
    worst = torch.tensor([[0.0, 2.0, -1.0]])
    assert trades(clean, clean, y, 6.0).item() == pytest.approx(F.cross_entropy(clean, y).item())
    by_hand = (clean.softmax(1) * (clean.log_softmax(1) - worst.log_softmax(1))).sum()
    for beta in (1.0, 6.0):
        assert trades(clean, worst, y, beta).item() == pytest.approx(
            (F.cross_entropy(clean, y) + beta * by_hand).item()
        )


def test_mart_weighs_the_drift_by_what_the_model_is_unsure_of():
    """Equation 11 by hand."""
    y, worst = torch.tensor([0]), torch.tensor([[0.0, 1.0, -1.0]])
    for clean in (torch.tensor([[4.0, 0.0, 0.0]]), torch.tensor([[0.2, 0.0, 0.0]])):
        p, q = clean.softmax(1)[0], worst.softmax(1)[0]
        boosted = -q[0].log() - (1.0001 - q[1:].max()).log()
        by_hand = boosted + 5 * (p * (p / q).log()).sum() * (1 - p[0])
        assert mart(clean, worst, y, 5.0).item() == pytest.approx(by_hand.item(), rel=1e-5)


# ── weights ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_weight_perturbation_raises_the_loss_by_its_share_and_puts_the_weights_back_bit_for_bit():
    torch.manual_seed(0)
    net, data = Net(), blobs(30)
    F.cross_entropy(net(data.x), data.y).backward()
    before = [weight.detach().clone() for weight in net.parameters()]
    slopes = [weight.grad.clone() for weight in net.parameters()]
    here = F.cross_entropy(net(data.x), data.y).item()
    kept = unmoved(net, 0.05)
    assert F.cross_entropy(net(data.x), data.y).item() > here
    for weight, old, slope in zip(net.parameters(), before, slopes, strict=True):
        assert weight.grad is None
        move = weight.detach() - old
        if weight.dim() < 2:
            assert not move.any()
        else:
            assert move.norm() / old.norm() == pytest.approx(0.05, rel=1e-3)
            assert torch.dot(move.flatten(), slope.flatten()) > 0
    restored(net, kept)
    assert all(torch.equal(weight, old) for weight, old in zip(net.parameters(), before, strict=True))


def test_the_average_follows_the_weights_and_is_what_is_kept():
    fast, slow = Net(), Net()
    start, goal = (next(net.parameters()).detach().clone() for net in (slow, fast))
    follow(slow, fast, 0.9, steps=10_000)
    assert torch.allclose(next(slow.parameters()), 0.9 * start + 0.1 * goal, atol=1e-6)
    course, _ = trained(Recipe(epochs=2, warmup=0, batch=32, steps=1, average=0.9))
    assert course.shown is course.averaged
    assert not torch.equal(state(course)["layers.1.weight"], course.model.module.state_dict()["layers.1.weight"])


# ── schedules and stopping ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("schedule", "at"),
    [
        ("cosine", {0.0: 1.0, 0.5: 0.5, 1.0: 0.0}),
        ("triangle", {0.15: 0.5, 0.3: 1.0, 0.65: 0.5, 1.0: 0.0}),
        ("steps", {0.0: 1.0, 0.49: 1.0, 0.5: 0.1, 0.8: 0.01}),
        ("constant", {0.0: 1.0, 0.9: 1.0}),
    ],
)
def test_learning_rates(schedule, at):
    recipe = Recipe(schedule=schedule, learning_rate=0.2)
    for done, share in at.items():
        assert rate(recipe, done) == pytest.approx(0.2 * share, abs=1e-9)


def test_the_set_grows_to_its_full_size_in_training():
    recipe = Recipe(epochs=6, warmup=2, radius=1.5)
    assert [grown(recipe, number) for number in range(1, 5)] == pytest.approx([0.5, 1.0, 1.5, 1.5])


def test_the_best_epoch_is_kept_and_patience_ends(monkeypatch):
    module = importlib.import_module("redoubt.harden.train")
    from redoubt.harden.watch import Watched

    robust = iter([0.9, 0.9, 0.2, 0.2, 0.6, 0.6, 0.5, 0.5, 0.4, 0.4, 0.3, 0.3])  # held out, trained on; by epoch
    monkeypatch.setattr(module, "watch", lambda *_: Watched(1.0, next(robust)))
    recipe = Recipe(epochs=6, warmup=1, batch=32, steps=1, keep="best", patience=2)
    torch.manual_seed(0)
    course = begin(TorchModel(Net(), FACE), recipe)
    states = []
    for _ in train(course, Training(blobs(96), blobs(60, seed=1), LINF, recipe, seed=3)):
        states.append(state(course))
    assert len(states) == 5  # best in the full set: epoch 3; two without a better one
    course.keep()
    kept = state(course)
    assert all(torch.equal(kept[name], states[2][name]) for name in kept)
    assert not all(torch.equal(kept[name], states[4][name]) for name in kept)


# ── catastrophic overfitting ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("own", "longer", "before", "is_so"),
    [
        (0.95, 0.02, 0.80, True),  # Wong et al. 2020, figure 2
        (0.85, 0.78, 0.80, False),
        (0.60, 0.55, 0.80, False),  # worse, but not fooling itself
        (0.90, 0.30, 0.30, False),  # was so before
        (0.95, 0.02, None, False),
    ],
)
def test_what_counts_as_catastrophic_overfitting(own, longer, before, is_so):
    assert overfitted(own, longer, before) is is_so


def test_an_epoch_that_overfits_is_undone_and_repeated_with_more_steps(monkeypatch):
    """Planted: the second epoch is called overfitted until four steps are taken."""
    module = importlib.import_module("redoubt.harden.train")

    monkeypatch.setattr(
        module, "_overfitted", lambda course, training, number, before: number >= 2 and course.steps < 4
    )
    keys = {"epochs": 3, "warmup": 0, "batch": 32, "learning_rate": 1e-2}
    course, history = trained(Recipe(steps=1, step=1.25, watch_overfitting=True, **keys))
    assert [(epoch.steps, epoch.undone) for epoch in history] == [(1, 0), (4, 2), (4, 0)]
    # Undone means undone: epochs 2 and 3 start where an epoch of one step, then epochs of four steps, would have.
    assert course.count.backwards == 96 * (2 + (2 + 3 + 5) + 5)
    assert course.updates == 3 * 3


def test_the_check_fires_on_a_model_that_withstands_one_step_only():
    """A staircase: the slope points out of the set's corner, where one long step goes, and the fall lies between."""
    from redoubt.harden.course import Snapshot
    from redoubt.harden.train import _overfitted

    class Planted(nn.Module):
        def __init__(self):
            super().__init__()
            self.deep = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            move = x.flatten(1).mean(dim=1) - 0.5  # all inputs are 0.5; positive moves raise the loss of class 0
            hole = torch.exp(-(((move - 0.05) / 0.02) ** 2)) * self.deep  # only in the middle of the way
            right = 2.0 - 5.0 * move - 30.0 * hole
            return torch.stack([right, torch.zeros_like(right), torch.zeros_like(right) - 1], dim=1)

    recipe = Recipe(epochs=4, warmup=0, steps=1, step=1.25, watch_overfitting=True)
    flat = Dataset(torch.full((40, 1, 6, 6), 0.5), torch.zeros(40, dtype=torch.long), "flat", "sha256:0")
    course = begin(TorchModel(Planted(), FACE), recipe)
    training = Training(flat, flat, LINF, recipe, seed=0)
    sound = Snapshot.of(course)
    assert not _overfitted(course, training, 2, sound)
    with torch.no_grad():
        course.model.module.deep.fill_(1.0)
    assert _overfitted(course, training, 2, sound)
    assert course.model.module.deep.item() == 1.0  # looking back leaves no trace


# ── free ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_free_training_steps_as_often_as_it_replays_with_one_pass_each_and_carries_the_moves_on(monkeypatch):
    module = importlib.import_module("redoubt.harden.train")

    carried = []
    original = module.replay

    def spy(course, setting, x, y, before):
        carried.append(before)
        loss, rest = original(course, setting, x, y, before)
        return loss, rest

    monkeypatch.setattr(module, "replay", spy)
    net = Net()
    course, _ = trained(Recipe(attack="free", replays=4, epochs=1, warmup=0, batch=32), net=net, many=80)
    assert course.updates == 3 * 4
    assert course.count == Count(4 * 80, 4 * 80)
    assert carried[0] is None
    assert all(0 < move.abs().max() <= 0.1 + 1e-6 for move in carried[1:])


# ── voting ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_vote_is_the_mean_of_the_versions_and_is_not_taken_in_training():
    torch.manual_seed(0)
    net, x = Net().eval(), blobs(5).x
    voting = Voting(net, rotation=10, translation=1)
    turn = Turn(10, 1, 0.0, 1.0)
    versions = [(a, dx, dy) for a in (0, 10, -10) for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))]
    by_hand = torch.stack(
        [net(turn.render(x, torch.tensor([v], dtype=torch.float32).expand(5, 3))).log_softmax(1) for v in versions]
    ).mean(0)
    assert torch.allclose(voting(x), by_hand, atol=1e-6)
    with alone(nn.Sequential(voting)):
        assert torch.allclose(voting(x), net(x))
    assert torch.allclose(voting(x), by_hand, atol=1e-6)


def test_a_vote_is_differentiable():
    voting = Voting(Net(), rotation=10, translation=1)
    x = blobs(2).x.requires_grad_()
    voting(x).sum().backward()
    assert x.grad.abs().sum() > 0


# ── precision and compilation ────────────────────────────────────────────────────────────────────────────────────


def test_mixed_precision_trains_and_keeps_the_weights_in_float32():
    recipe = Recipe(epochs=6, warmup=0, batch=32, steps=2, learning_rate=1e-2, precision="bfloat16")
    course, history = trained(recipe)
    assert history[-1].robust > 0.8
    assert all(value.dtype == torch.float32 for value in state(course).values())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_model_takes_the_same_course():
    def run(**keys):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 3))
        return state(trained(Recipe(epochs=2, warmup=0, batch=32, steps=2, average=0.9, **keys), net=net)[0])

    plain, compiled = run(), run(compile=True)
    assert plain.keys() == compiled.keys()
    assert all(torch.allclose(plain[name], compiled[name], atol=1e-4) for name in plain)
