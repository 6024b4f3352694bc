"""Poisoning attacks: what each may touch, that it is a pure function, and that it does what its mathematics say."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Generator, nn

from redoubt.attacks.membership.shadows import TorchTrainer
from redoubt.attacks.poisoning import (
    ChosenFlips,
    GradientMatching,
    InfluencePoint,
    RandomFlips,
    Scene,
    Surrogate,
    Target,
    answers_after,
    fit_head,
    rows_allowed,
    surrogates_of,
)
from redoubt.attacks.poisoning.matching import _aim, _mismatch
from redoubt.data import Dataset, digest_of
from redoubt.models import Face
from redoubt.models.adapter import Adapter
from redoubt.records import ModelError
from redoubt.records.training import TrainingRecipe

ADAPTER = Adapter(Face((1, 8, 8), 0.0, 1.0, 10))
RECIPE = TrainingRecipe(epochs=12, batch=32, learning_rate=5e-3)
MOST = 8
ATTACKS = [RandomFlips(), ChosenFlips(), InfluencePoint(rounds=5), GradientMatching(steps=20, restarts=1)]


def build(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


@pytest.fixture(scope="module")
def trainer():
    return TorchTrainer(build, ADAPTER, RECIPE, "test")


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    x, y = torch.from_numpy(x / 16).float().view(-1, 1, 8, 8), torch.from_numpy(y).long()
    return Dataset(x[:800], y[:800], "digits", digest_of(x[:800], y[:800])), x[800:], y[800:]


@pytest.fixture(scope="module")
def scene(digits, trainer):
    data, _, _ = digits
    return Scene(data, 10, (0.0, 1.0), MOST, surrogates_of(trainer, data, [100], ADAPTER), radius=0.4)


@pytest.fixture(scope="module")
def target(digits, scene):
    """A held-out digit that the surrogate answers rightly, though less surely than most."""
    _, x, y = digits
    scores = scene.surrogates[0].scores(x)
    own = scores.gather(1, y[:, None])[:, 0]
    rest = scores.scatter(1, y[:, None], -torch.inf)
    gap = (own - rest.max(dim=1).values).masked_fill(scores.argmax(dim=1) != y, torch.inf)
    at = int(gap.argsort()[60])
    return Target(x[at], int(y[at]), int(rest[at].argmax()))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: one.name)
def test_changes_no_more_than_it_may_and_is_a_pure_function(attack, scene, target):
    before = scene.data.x.clone(), scene.data.y.clone()
    found, again = (attack.poison(scene, target, 3) for _ in range(2))
    assert 1 <= int(found.rows.sum()) <= MOST
    assert torch.equal(found.data.x[~found.rows], before[0][~found.rows])
    assert torch.equal(found.data.y[~found.rows], before[1][~found.rows])
    if attack.flips:
        assert torch.equal(found.data.x, before[0])
        assert (found.data.y != before[1])[found.rows].all()
    else:
        assert torch.equal(found.data.y, before[1])
        assert (found.data.x - before[0]).abs().max() <= scene.radius + 1e-6
        assert 0 <= found.data.x.min() <= found.data.x.max() <= 1
    assert found.data.digest == again.data.digest == digest_of(found.data.x, found.data.y) != scene.data.digest
    assert torch.equal(scene.data.x, before[0])
    assert torch.equal(scene.data.y, before[1])


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: one.name)
def test_touches_only_what_passes_a_check_that_it_knows(attack, scene, target):
    """Every second row, with any label."""
    passing = (torch.arange(800) % 2 == 0)[:, None].expand(-1, 10)
    found = attack.poison(dataclasses.replace(scene, passing=passing), target, 0)
    assert int(found.rows.sum()) >= 1
    assert not found.rows[1::2].any()
    with pytest.raises(ValueError, match=r"no row|no flip"):
        attack.poison(dataclasses.replace(scene, passing=torch.zeros(800, 10, dtype=torch.bool)), target, 0)


def test_random_flips_give_the_wanted_label_or_any_other(scene, target):
    aimed, aimless = RandomFlips().poison(scene, target, 0), RandomFlips().poison(scene, None, 0)
    assert set(aimed.data.y[aimed.rows].tolist()) == {target.wanted}
    assert len(set(aimless.data.y[aimless.rows].tolist())) > 1
    assert not torch.equal(aimless.rows, RandomFlips().poison(scene, None, 1).rows)


def refitted(scene, poisoned, target):
    """Loss of the target at the wanted label, of the last layer fitted again on the poisoned data."""
    surrogate = scene.surrogates[0]
    head = fit_head(surrogate.look(poisoned.x), poisoned.y, 10)
    at = head.lift(surrogate.look(target.x[None])) @ head.weights.T
    return float(F.cross_entropy(at, torch.tensor([target.wanted])))


def test_chosen_flips_bring_the_target_nearer_than_random_ones(scene, target):
    clean = refitted(scene, scene.data, target)
    chosen = refitted(scene, ChosenFlips().poison(scene, target, 0).data, target)
    random = [refitted(scene, RandomFlips().poison(scene, target, seed).data, target) for seed in range(3)]
    assert chosen < 0.5 * min(random)
    assert min(random) < 1.1 * clean


def test_chosen_flips_without_a_target_cost_more_accuracy_than_random_ones(scene, digits):
    _, x, y = digits
    wide = dataclasses.replace(scene, most=80)

    def loss(poisoned):
        head = fit_head(scene.surrogates[0].look(poisoned.data.x), poisoned.data.y, 10)
        return float(F.cross_entropy(head.lift(scene.surrogates[0].look(x)) @ head.weights.T, y))

    assert loss(ChosenFlips().poison(wide, None, 0)) > 1.2 * loss(RandomFlips().poison(wide, None, 0))


def test_a_moved_point_brings_the_target_nearer_and_moving_it_the_other_way_does_not(scene, target):
    """One of 800 rows, the whole range."""
    free = dataclasses.replace(scene, radius=None)
    found = InfluencePoint().poison(free, target, 0)
    (row,) = found.rows.nonzero().flatten().tolist()
    clean, moved = refitted(scene, scene.data, target), refitted(scene, found.data, target)
    assert moved < 0.97 * clean
    noise = torch.rand(1, 8, 8, generator=Generator().manual_seed(0))
    x = scene.data.x.clone()
    x[row] = noise
    assert refitted(scene, Dataset(x, scene.data.y, "", ""), target) > moved


@pytest.fixture(scope="module")
def regression(digits):
    """300 threes and eights in a softmax regression on pixels, to which influence applies exactly."""
    data, x, y = digits
    rows = ((data.y == 3) | (data.y == 8)).nonzero().squeeze(1)
    two, labels = data.x[rows], (data.y[rows] == 8).long()
    adapter = Adapter(Face((1, 8, 8), 0.0, 1.0, 2))
    surrogate = Surrogate(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), adapter)  # its weights play no part
    asked = ((y == 3) | (y == 8)).nonzero().squeeze(1)
    small = Dataset(two, labels, "digits", digest_of(two, labels))
    return Scene(small, 2, (0.0, 1.0), 9, (surrogate,)), x[asked], (y[asked] == 8).long()


def after_points(regression, at, points):
    """Loss of a held-out digit at the wrong label, after so many points were moved; and before."""
    scene, x, y = regression
    (surrogate,), target = scene.surrogates, Target(x[at], int(y[at]), 1 - int(y[at]))
    losses = []
    for data in (scene.data, InfluencePoint(points=points).poison(scene, target, 0).data):
        head = fit_head(surrogate.look(data.x), data.y, 2)
        seen = head.lift(surrogate.look(target.x[None])) @ head.weights.T
        losses.append(float(F.cross_entropy(seen, torch.tensor([target.wanted]))))
    return losses


@pytest.mark.parametrize("at", [0, 1, 2])
def test_more_points_are_never_weaker(regression, at):
    """Of a regression fitted once for many steps, nine points overshot together, and did less than one."""
    clean, one = after_points(regression, at, 1)
    found = [clean, one, *(after_points(regression, at, points)[1] for points in (3, 9))]
    assert found == sorted(found, reverse=True)
    assert found[1] < 0.8 * clean
    assert found[3] < 0.3 * clean


def test_matched_gradients_point_where_training_on_the_target_would(scene, target):
    found = GradientMatching(steps=80, restarts=1).poison(scene, target, 0)
    rows = found.rows
    assert set(found.data.y[rows].tolist()) == {target.wanted}
    aims = [_aim(one, target) for one in scene.surrogates]
    before = float(_mismatch(scene.surrogates, aims, scene.data.x[rows], scene.data.y[rows]).detach())
    after = float(_mismatch(scene.surrogates, aims, found.data.x[rows], found.data.y[rows]).detach())
    assert after < 0.5 * before
    fewer = GradientMatching(steps=80, restarts=1).poison(dataclasses.replace(scene, radius=0.01), target, 0)
    assert after < float(_mismatch(scene.surrogates, aims, fewer.data.x[rows], fewer.data.y[rows]).detach())


def test_victims_trained_from_scratch_on_matched_poison_lean_to_the_wanted_label(scene, target, trainer):
    """And not on noise of the same size in the same rows."""
    found = GradientMatching(steps=80, restarts=1).poison(scene, target, 0)
    rng = Generator().manual_seed(0)
    noise = scene.data.x + 0.4 * torch.where(torch.rand(scene.data.x.shape, generator=rng) < 0.5, -1.0, 1.0)
    noised = torch.where(found.rows.view(-1, 1, 1, 1), noise.clamp(0, 1), scene.data.x)

    def lean(x):
        every = torch.cat([x, target.x[None]])
        inside = (torch.arange(801) < 800).expand(2, -1)
        scores = trainer.scores(every, torch.cat([scene.data.y, torch.tensor([0])]), inside, [1, 2])[:, -1]
        return float((scores[:, target.wanted] - scores[:, target.y]).mean())

    assert lean(found.data.x) > lean(noised) + 0.5
    assert lean(found.data.x) > lean(scene.data.x) + 0.5


def test_poison_of_an_augmenting_victim_still_matches(scene, target):
    found = GradientMatching(steps=30, restarts=1, shift=1).poison(scene, target, 0)
    plain = GradientMatching(steps=30, restarts=1).poison(scene, target, 0)
    assert found.data.digest != plain.data.digest


@pytest.mark.parametrize("attack", [InfluencePoint(), GradientMatching()], ids=lambda one: one.name)
def test_an_attack_on_one_prediction_wants_a_target(attack, scene):
    assert not attack.aimless
    with pytest.raises(ValueError, match="takes a target"):
        attack.poison(scene, None, 0)


def test_a_share_is_never_exceeded():
    assert rows_allowed(0.01, 1000) == 10
    assert rows_allowed(0.01, 999) == 9
    assert rows_allowed(0.29, 100) == 29
    assert rows_allowed(0.001, 999) == 0


def test_victims_are_not_trained_on_what_they_are_asked(digits, trainer):
    data, x, _ = digits
    first = answers_after(trainer, data, x[:50], [1, 2])
    both = answers_after(trainer, data, torch.cat([x[:50], 1 - x[50:90]]), [1, 2])
    assert first.shape == (2, 50)
    assert torch.equal(first, both[:, :50])


def test_features_are_what_the_last_layer_takes(scene):
    surrogate = scene.surrogates[0]
    x = scene.data.x[:5]
    last = surrogate.module[-1]
    assert torch.allclose(surrogate.features(x) @ last.weight.T + last.bias, surrogate.logits(x), atol=1e-5)
    bare = Surrogate(nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Unflatten(1, (10, 1)), nn.AvgPool1d(1)), ADAPTER)
    with pytest.raises(ModelError, match="linear layer"):
        bare.features(x)
