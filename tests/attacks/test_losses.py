"""The losses rise where the attacker gains, and are what the papers say."""

import pytest
import torch

from redoubt.attacks.evasion.losses import cross_entropy, dlr, dlr_targeted, margin


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
@pytest.mark.parametrize("loss", [margin, dlr])
def test_positive_exactly_where_the_answer_is_wrong(classes, loss):
    rng = torch.Generator().manual_seed(classes)
    logits = torch.randn(200, classes, generator=rng)
    y = torch.randint(0, classes, (200,), generator=rng)
    assert torch.equal(loss(logits, y) > 0, logits.argmax(1) != y)


def test_dlr_by_hand():
    """Croce and Hein (2020), eq. 6: -(z_y - max_other) / (z_1 - z_3)."""
    logits = torch.tensor([[3.0, 1.0, 0.5, -1.0]])
    assert dlr(logits, torch.tensor([0])) == pytest.approx(-(3.0 - 1.0) / (3.0 - 0.5))
    assert dlr(logits, torch.tensor([1])) == pytest.approx((3.0 - 1.0) / (3.0 - 0.5))


def test_targeted_dlr_by_hand():
    """Eq. 7: -(z_y - z_t) / (z_1 - (z_3 + z_4) / 2)."""
    logits = torch.tensor([[3.0, 1.0, 0.5, -1.0, -9.0]])
    value = dlr_targeted(logits, torch.tensor([0]), torch.tensor([2]))
    assert value == pytest.approx(-(3.0 - 0.5) / (3.0 - (0.5 - 1.0) / 2))


@pytest.mark.parametrize("classes", [3, 4, 10])
def test_dlr_ignores_shift_and_scale(classes):
    rng = torch.Generator().manual_seed(0)
    logits, y = torch.randn(50, classes, generator=rng), torch.zeros(50, dtype=torch.long)
    torch.testing.assert_close(dlr(7 * logits + 3, y), dlr(logits, y), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes_still_have_a_gradient(classes):
    logits = torch.randn(20, classes, generator=torch.Generator().manual_seed(1)).requires_grad_()
    y, target = torch.zeros(20, dtype=torch.long), torch.ones(20, dtype=torch.long)
    right = logits.argmax(1) == y
    for loss in (dlr(logits, y), dlr_targeted(logits, y, target)):
        (gradient,) = torch.autograd.grad(loss.sum(), logits, retain_graph=True)
        assert torch.isfinite(gradient).all()
        assert (gradient.abs().sum(1) > 0)[right].all()


def test_cross_entropy_is_per_row():
    assert cross_entropy(torch.zeros(3, 4), torch.tensor([0, 1, 2])).shape == (3,)
