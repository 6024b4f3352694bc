"""Influence functions of a softmax regression, against the dense Hessian and against training again."""

import torch
import torch.nn.functional as F
from torch import Generator

from redoubt.attacks.poisoning import fit_head

K, L2 = 3, 1e-2


def blobs(count=120, seed=0):
    rng = Generator().manual_seed(seed)
    y = torch.arange(count) % K
    centres = 1.5 * torch.randn(K, 4, generator=rng, dtype=torch.float64)
    return centres[y] + torch.randn(count, 4, generator=rng, dtype=torch.float64), y


def cost(head, y, weights):
    return F.cross_entropy(head.phi @ weights.T, y) + L2 / 2 * weights.square().sum()


def test_the_fit_is_the_optimum():
    x, y = blobs()
    head = fit_head(x, y, K, l2=L2)
    slope = torch.autograd.functional.jacobian(lambda w: cost(head, y, w), head.weights)
    assert slope.abs().max() < 1e-4


def test_solving_is_the_dense_inverse_hessian():
    x, y = blobs()
    head = fit_head(x, y, K, l2=L2)
    dense = torch.autograd.functional.hessian(lambda w: cost(head, y, w), head.weights).reshape(15, 15)
    slope = torch.randn(K, 5, generator=Generator().manual_seed(1), dtype=torch.float64)
    assert torch.allclose(head.solve(slope).flatten(), torch.linalg.solve(dense, slope.flatten()), rtol=1e-3, atol=1e-4)


def test_influence_foretells_what_training_again_on_a_flipped_label_does():
    """Of every flip there is of 40 rows: nearly the same figure, and not half or double of it."""
    x, y = blobs()
    head = fit_head(x, y, K, l2=L2)
    asked, wanted = torch.tensor([[0.5, 0.2, -0.3, 0.1]], dtype=torch.float64), torch.tensor([1])
    phi = head.lift(asked)
    before = F.cross_entropy(phi @ head.weights.T, wanted)
    solved = head.solve(head.slope(phi, wanted))
    foretold, found = [], []
    for row in range(40):
        label = (int(y[row]) + 1) % K
        other = y.clone()
        other[row] = label
        again = fit_head(x, other, K, l2=L2, start=head)
        found.append(float(F.cross_entropy(phi @ again.weights.T, wanted) - before))
        foretold.append(float(-(solved[y[row]] - solved[label]) @ head.phi[row] / len(y)))
    mine, true = torch.tensor(foretold), torch.tensor(found)
    slope = float((mine * true).sum() / (mine * mine).sum())
    assert 0.75 < slope < 1.33
    assert float(torch.corrcoef(torch.stack([mine, true]))[0, 1]) > 0.97
