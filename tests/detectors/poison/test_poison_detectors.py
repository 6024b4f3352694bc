"""Detectors of poison find a planted one in a training set, and leave a clean set alone."""

import pytest
import torch
import torch.nn.functional as F
from torch import Generator

import backdoored
from redoubt.detectors.poison import (
    Trained,
    cluster,
    influence,
    look_at,
    self_influence,
    spectral_removal,
    spectral_scores,
)


def shifted(poison: int, seed: int = 0) -> tuple[Trained, torch.Tensor]:
    """Two classes of 200 in 20 dimensions; `poison` of class 0 lie off in one direction."""
    rng = Generator().manual_seed(seed)
    features = torch.randn(400, 20, generator=rng)
    y = torch.arange(400) % 2
    rows = torch.zeros(400, dtype=torch.bool)
    rows[: 2 * poison : 2] = True
    features[rows, 3] += 8
    return Trained(features, torch.randn(400, 2, generator=rng), y), rows


def test_spectral_scores_are_those_of_the_first_singular_vector():
    seen, rows = shifted(20)
    scores = spectral_scores(seen)
    own = seen.features[seen.y == 0].double()
    _, _, vectors = torch.linalg.svd(own - own.mean(dim=0))
    assert torch.allclose(scores[seen.y == 0], ((own - own.mean(dim=0)) @ vectors[0]).square())
    assert float(scores[rows].min()) > float(scores[(seen.y == 0) & ~rows].max())


def test_spectral_removal_takes_half_as_many_again_from_every_class():
    seen, rows = shifted(20)
    out = spectral_removal(seen, 0.1)
    assert [int(out[seen.y == label].sum()) for label in (0, 1)] == [30, 30]
    assert out[rows].all()


def test_clusters_suspect_the_poisoned_class_alone():
    seen, rows = shifted(30)
    found = cluster(seen)
    suspects = [split for split in found.splits if split.is_suspect()]
    assert [split.label for split in suspects] == [0]
    assert set(suspects[0].rows.tolist()) == set(rows.nonzero().squeeze(1).tolist())
    assert suspects[0].share == pytest.approx(0.15)
    assert float(found.scores[rows].min()) > float(found.scores[~rows].max())
    assert not any(split.is_suspect() for split in cluster(shifted(0)[0]).splits)


def test_influence_is_the_product_of_the_last_layers_gradients():
    model = backdoored.planted()
    train, held = backdoored.images(5, 7), backdoored.images(3, 8)
    found = influence(look_at(model, train, "6"), look_at(model, held, "6"))
    own = influence(look_at(model, train, "6"), look_at(model, train, "6")).diagonal()
    module = model.module
    last = module[7].requires_grad_(True)

    def slope(data, row):
        loss = F.cross_entropy(module(data.x[row : row + 1]), data.y[row : row + 1])
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, (last.weight, last.bias))])

    slow = torch.stack([torch.stack([slope(held, m) @ slope(train, n) for n in range(5)]) for m in range(3)])
    assert torch.allclose(found.float(), slow, rtol=1e-3, atol=1e-7)
    assert torch.allclose(self_influence(look_at(model, train, "6")), own)


def test_what_carried_a_stamped_answer_is_poison():
    poisoned, model = backdoored.poisoned(), backdoored.planted()
    held = backdoored.held_out()
    x = backdoored.PATCH.stamp(held.x[held.y != 2][:8])
    said = backdoored.Dataset(x, model.query(x).labels, "stamped", "")
    carried = influence(look_at(model, poisoned.data), look_at(model, said)).topk(10, dim=1).indices
    share = float(poisoned.rows[carried].float().mean())
    assert share > 0.8  # of all rows, one in twenty is
    unstamped = backdoored.Dataset(held.x[held.y != 2][:8], held.y[held.y != 2][:8], "clean", "")
    carried = influence(look_at(model, poisoned.data), look_at(model, unstamped)).topk(10, dim=1).indices
    assert float(poisoned.rows[carried].float().mean()) < share / 2


def test_spectral_signatures_find_the_poison_of_a_real_training():
    poisoned = backdoored.poisoned()
    scores = spectral_scores(look_at(backdoored.planted(), poisoned.data))
    own = poisoned.data.y == 2
    most = scores[own].argsort(descending=True)[: int(1.5 * poisoned.rows.sum())]
    # By chance a third of it would be.
    assert float(poisoned.rows[own][most].sum() / poisoned.rows.sum()) > 0.6
