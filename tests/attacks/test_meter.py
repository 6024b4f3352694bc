"""The meter bills each example for its own passes, and lets nobody overdraw."""

import pytest
import torch

from redoubt.attacks.evasion.glass import GlassModel as _Glass
from redoubt.attacks.evasion.glass import glass_images as _images
from redoubt.models.meter import AccessDenied, BudgetExceeded, Metered
from redoubt.records import Access, Budget, Fault


def handle(access=Access.GRADIENTS, budget=None, count=4):
    return Metered(_Glass(), access, budget or Budget(), count)


def test_bills_each_example_for_its_own():
    model, (x, _) = handle(), _images(4)
    model.logits(x)
    model.only(torch.tensor([1, 3])).query(x[[1, 3]])
    model.only(torch.tensor([True, False, False, True])).only(torch.tensor([1])).slope(x[[3]], lambda z: z[:, 0])
    assert model.meter.forwards.tolist() == [1, 1, 1, 2]
    assert model.meter.queries.tolist() == [0, 1, 0, 1]
    assert model.meter.backwards.tolist() == [0, 0, 0, 1]
    assert model.meter.work(3).passes == 4
    assert model.meter.work().passes == 8


def test_copies_are_billed_each():
    model, (x, _) = handle(), _images(4)
    model.query(x.repeat(3, 1, 1, 1))
    assert model.meter.queries.tolist() == [3, 3, 3, 3]


def test_inputs_that_belong_to_nobody_are_a_fault():
    with pytest.raises(Fault, match="3 inputs for 4 examples"):
        handle().query(_images(3)[0])


@pytest.mark.parametrize("budget", [Budget(passes=3), Budget(queries=3)])
def test_refuses_an_overdraft_before_asking(budget):
    model, (x, _) = handle(budget=budget), _images(4)
    model.query(x.repeat(3, 1, 1, 1))
    with pytest.raises(BudgetExceeded):
        model.only(torch.tensor([2])).query(x[[2]])
    assert model.meter.queries.tolist() == [3, 3, 3, 3]


def test_labels_only_shows_no_scores_and_no_gradient():
    model, (x, _) = handle(Access.LABEL), _images(4)
    assert model.query(x).scores is None
    for verb in (lambda: model.logits(x), lambda: model.slope(x, lambda z: z[:, 0])):
        with pytest.raises(AccessDenied):
            verb()
    assert model.meter.forwards.sum() == 0


def test_slope_is_the_gradient_of_each_row():
    model, (x, y) = handle(), _images(4)
    slope = model.slope(x, lambda z: (z.gather(1, y[:, None]).squeeze(1)) ** 2)
    expected = 2 * slope.logits.gather(1, y[:, None]) * _Glass().weight[y]
    torch.testing.assert_close(slope.gradient.flatten(1), expected)


def test_sees_gradients_that_vanish_or_are_nan_and_hands_on_finite_ones():
    model, (x, _) = handle(count=3), _images(3)
    zero_nan = torch.tensor([0.0, torch.nan, 1.0])
    slope = model.slope(x, lambda z: z[:, 0] * zero_nan)
    assert torch.isfinite(slope.gradient).all()
    assert model.meter.vanished.tolist() == [1, 0, 0]
    assert model.meter.nan.tolist() == [0, 1, 0]


def test_remembers_first_and_best_loss():
    model, (x, _) = handle(count=2), _images(2)
    for value in (1.0, 5.0, 3.0):
        model.slope(x, lambda z, v=value: z[:, 0] * 0 + v)
    assert model.meter.first_loss.tolist() == [1.0, 1.0]
    assert model.meter.best_loss.tolist() == [5.0, 5.0]
