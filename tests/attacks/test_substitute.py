"""A substitute learns what it is told, draws from its own generator alone, and costs nothing at the victim."""

import pytest
import torch

from redoubt.attacks.evasion import Transfer
from redoubt.attacks.evasion.glass import GlassModel as _Glass
from redoubt.attacks.evasion.glass import glass_images as _images
from redoubt.attacks.evasion.substitute import Substitute, network
from redoubt.models.base import Answer, Face
from redoubt.models.meter import Metered
from redoubt.perturb import LinfBall
from redoubt.records import Access, Budget

GLASS = Face((1, 8, 8), 0.0, 1.0, 4)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def agreement(substitute, x):
    return float((substitute.model.query(x).labels == _Glass().query(x).labels).float().mean())


def near(count, seed):
    """Inputs on all sides of the glass model's borders."""
    x, _ = _images(count)
    return (x + 0.5 * torch.rand(x.shape, generator=rng(seed)) - 0.25).clamp(0, 1)


@pytest.mark.parametrize("shown", ["labels", "scores", "broken scores"])
def test_learns_what_the_answers_tell(shown):
    x, y = _images(8)
    substitute = Substitute(GLASS, x, y, rng())
    substitute.learn(100)
    before = agreement(substitute, near(400, 1))
    asked = near(400, 2)
    answer = _Glass().query(asked)
    scores = {"labels": None, "scores": answer.scores, "broken scores": answer.scores * torch.inf}[shown]
    substitute.hear(asked, Answer(answer.labels, scores, answer.refused))
    substitute.learn(200)
    assert len(substitute) == 400
    assert agreement(substitute, near(400, 1)) > max(before, 0.6)


def test_refusals_and_what_is_no_number_teach_nothing():
    x, y = _images(4)
    substitute = Substitute(GLASS, x, y, rng())
    labels = torch.tensor([0, -1, 1, 2])
    substitute.hear(x, Answer(labels, None, torch.tensor([False, False, True, False])))
    assert len(substitute) == 2


def test_learns_from_what_was_asked_in_the_inputs_stead():
    x, y = _images(4)
    substitute = Substitute(GLASS, x, y, rng())
    other = torch.zeros_like(x)
    substitute.hear(x, Answer(y, None, torch.zeros(4, dtype=torch.bool), asked=other))
    assert torch.equal(substitute._asked, other)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 13), (1, 7, 7), (20,), (2, 3)])
def test_there_is_a_network_for_every_shape(shape):
    face = Face(shape, 0.0, 1.0, 3)
    assert network(face, rng())(torch.rand(2, *shape)).shape == (2, 3)


def test_touches_no_random_state_but_its_own():
    before = torch.random.get_rng_state()
    first, again, other = (network(GLASS, rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


def test_passes_on_the_substitute_are_not_the_victims_to_bill():
    x, y = _images(4)
    handle = Metered(_Glass(), Access.LABEL, Budget(queries=20), 4)
    Transfer(lessons=5).run(handle, x, y, LinfBall(0.001, 0.0, 1.0), Budget(queries=20), rng())
    assert handle.meter.queries.tolist() == [20] * 4
    assert int(handle.meter.forwards.sum() + handle.meter.backwards.sum()) == 0
