"""Shadow models: side by side as one by one, of torch and of scikit-learn, from a recipe that is data."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from redoubt.attacks.membership import halves
from redoubt.attacks.membership.shadows import ESTIMATORS, SklearnTrainer, TorchTrainer
from redoubt.attacks.membership.shadows.of_torch import can_be_batched
from redoubt.models import Face
from redoubt.models.adapter import Adapter
from redoubt.records import ModelError, PolicyError, ShadowRecipe

ADAPTER = Adapter(Face((1, 5, 5), 0.0, 1.0, 3), mean=[0.5], std=[0.25])


def records(count=60, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, 5, 5, generator=rng), torch.arange(count) % 3


def factory(*layers):
    def build(seed):
        torch.manual_seed(seed)
        return nn.Sequential(*(layer() for layer in layers))

    return build


MLP = factory(nn.Flatten, lambda: nn.Linear(25, 16), nn.Tanh, lambda: nn.Linear(16, 3))
CNN = factory(lambda: nn.Conv2d(1, 4, 3), nn.ReLU, nn.Flatten, lambda: nn.Linear(36, 3))
NORMED = factory(nn.Flatten, lambda: nn.BatchNorm1d(25), lambda: nn.Linear(25, 3))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("build", [MLP, CNN])
def test_side_by_side_is_one_by_one(build, optimizer):
    """The batched models take the course that each would have taken alone."""
    x, y = records()
    recipe = ShadowRecipe(epochs=4, batch=8, optimizer=optimizer, learning_rate=0.02, weight_decay=1e-3)
    inside, seeds = halves(4, len(y), 1), [5, 6, 7, 8]
    loop, together = (
        TorchTrainer(build, ADAPTER, recipe, None, way).scores(x, y, inside, seeds) for way in (False, True)
    )
    torch.testing.assert_close(together, loop, atol=1e-4, rtol=1e-4)
    assert (loop[0] - loop[1]).abs().max() > 0.1  # they are different models


def test_a_model_depends_on_its_own_records_and_seed_alone():
    x, y = records()
    inside, trainer = halves(4, len(y), 1), TorchTrainer(MLP, ADAPTER, ShadowRecipe(epochs=3), None)
    every = trainer.scores(x, y, inside, [5, 6, 7, 8])
    part = trainer.scores(x, y, inside[2:], [7, 8])
    torch.testing.assert_close(every[2:], part, atol=1e-5, rtol=1e-5)
    changed = y.clone()
    changed[~inside[0]] = 0  # what the first does not see
    torch.testing.assert_close(trainer.scores(x, changed, inside[:1], [5]), every[:1], atol=1e-5, rtol=1e-5)


def test_shadows_memorise_what_they_saw():
    rng = torch.Generator().manual_seed(0)
    x, _ = records()
    y = torch.randint(3, (60,), generator=rng)  # nothing to learn but by heart
    inside = halves(4, 60, 0)
    scores = TorchTrainer(MLP, ADAPTER, ShadowRecipe(epochs=200, learning_rate=0.02, batch=16), None).scores(
        x, y, inside, [1, 2, 3, 4]
    )
    right = scores.argmax(dim=2) == y
    assert right[inside].float().mean() > 0.95
    assert right[~inside].float().mean() < 0.6


def test_what_cannot_be_batched_is_trained_one_by_one():
    x, y = records()
    assert can_be_batched(MLP(0), x[:2])
    assert not can_be_batched(CNN(0), x[:2])
    assert not can_be_batched(NORMED(0), x[:2])
    recipe, inside = ShadowRecipe(epochs=2, batch=10), halves(4, len(y), 0)
    assert TorchTrainer(NORMED, ADAPTER, recipe, None).scores(x, y, inside, [1, 2, 3, 4]).isfinite().all()


def test_what_decides_the_result_is_described():
    one = TorchTrainer(MLP, ADAPTER, ShadowRecipe(epochs=2), "a").describe()
    assert one != TorchTrainer(MLP, ADAPTER, ShadowRecipe(epochs=3), "a").describe()
    assert one != TorchTrainer(MLP, ADAPTER, ShadowRecipe(epochs=2), "b").describe()
    assert one == TorchTrainer(MLP, ADAPTER, ShadowRecipe(epochs=2, models=64), "a").describe()  # more of the same


@pytest.mark.parametrize("name", ["LogisticRegression", "RandomForestClassifier", "KNeighborsClassifier", "GaussianNB"])
def test_estimators_of_the_allow_list(name):
    x, y = records()
    trainer = SklearnTrainer.named(name, {}, ADAPTER)
    inside = halves(4, len(y), 0)
    scores = trainer.scores(x, y, inside, [1, 2, 3, 4])
    assert scores.shape == (4, 60, 3)
    assert scores.isfinite().all()
    assert torch.equal(scores, trainer.scores(x, y, inside, [1, 2, 3, 4]))


def test_all_estimators_exist_and_others_are_refused():
    for name in ESTIMATORS:
        SklearnTrainer.named(name, {}, ADAPTER)
    with pytest.raises(PolicyError, match="no estimator"):
        SklearnTrainer.named("FunctionTransformer", {}, ADAPTER)
    with pytest.raises(PolicyError, match="not built with that"):
        SklearnTrainer.named("LogisticRegression", {"depth": 3}, ADAPTER)


def test_a_missing_class_is_said():
    x, y = records()
    y = y.clone()
    y[y == 2] = 0
    y[0] = 2
    with pytest.raises(ModelError, match="lacks a class"):
        SklearnTrainer(LogisticRegression(), ADAPTER).scores(x, y, halves(4, len(y), 0), [1, 2, 3, 4])


@pytest.mark.parametrize(
    ("build", "rate", "says"),
    [(MLP, 1e38, "not finite"), (factory(nn.Flatten, lambda: nn.Linear(7, 3)), 1e-3, "cannot be trained")],
)
def test_a_training_that_breaks_down_is_said(build, rate, says):
    x, y = records()
    trainer = TorchTrainer(build, ADAPTER, ShadowRecipe(epochs=9, learning_rate=rate, optimizer="sgd"), None)
    with pytest.raises(ModelError, match=says):
        trainer.scores(x, y, halves(4, len(y), 0), [1, 2, 3, 4])
