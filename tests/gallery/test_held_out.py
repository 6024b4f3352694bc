"""The defences kept out of the search's development, of its first version or of the present one."""

import pytest
import torch

from gallery import store
from gallery.attack import answer, margin
from gallery.thermometer import Thermometer


def made(name, ground):
    torch.manual_seed(0)
    defence = store.find(name)
    module = defence.build()
    defence.fit(module, ground)
    return module.eval().requires_grad_(False)


def test_they_are_named_and_no_search_may_know_them():
    assert set(store.HELD_OUT) == {"output_code", "mahalanobis"}
    assert set(store.HELD_OUT) <= set(store.NAMES)


def test_a_thermometer_rises_with_the_pixel():
    code = Thermometer(16)(torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1)).flatten(1)
    assert code.sum(dim=1).tolist() == [0, 8, 16]
    assert (code.diff(dim=1) <= 0).all()


def test_the_code_has_no_gradient(ground):
    torch.manual_seed(0)
    module, leaf = store.find("thermometer").build(), ground.held_x[:4].clone().requires_grad_()
    module.requires_grad_(False)
    assert not module(leaf).requires_grad


@pytest.fixture(scope="module")
def voters(ground):
    return made("random_vote", ground)


def test_three_of_five_vote_and_their_votes_have_no_gradient(voters, ground):
    x = ground.held_x[:20].clone().requires_grad_()
    votes = voters(x)
    assert votes.sum(dim=1).tolist() == [3.0] * 20
    assert not votes.requires_grad


def test_the_draw_is_anew_for_each_query_and_by_torchs_seed(voters):
    votes = torch.eye(5)[:, None, :].repeat(1, 400, 2)  # member m votes for class m
    torch.manual_seed(0)
    one, two = voters.draw(votes), voters.draw(votes)
    torch.manual_seed(0)
    assert torch.equal(voters.draw(votes), one)
    assert not torch.equal(one, two)
    assert (one[:, :5].mean(dim=0) - 3 / 5).abs().max() < 0.1  # every member as often as the others


@pytest.fixture(scope="module")
def supported(ground):
    return made("deep_knn", ground)


def test_deep_knn_refuses_few_clean_images_and_what_it_never_saw(supported, ground):
    labels, refused = answer(supported, ground.held_x)
    assert (labels == ground.held_y).float().mean() > 0.9
    assert refused.float().mean() <= 0.06
    upright = ground.held_x[:50].transpose(2, 3)  # bars the other way
    assert answer(supported, upright)[1].float().mean() > 0.5


def test_neighbours_agree_with_a_plain_count(supported, ground):
    x = ground.held_x[:5]
    near, features = supported.near_middle, supported.middle(supported.early(x))
    likeness = torch.stack(
        [torch.cosine_similarity(row[None].expand_as(near.features), near.features, dim=1) for row in features]
    )
    wanted = near.labels[likeness.argsort(dim=1, descending=True, stable=True)[:, :25]]
    assert torch.equal(near(features).sort(dim=1).values, wanted.sort(dim=1).values)


def test_its_suspicion_has_no_gradient_but_its_logits_have(supported, ground):
    leaf = ground.held_x[:5].clone().requires_grad_()
    logits, suspicion = supported(leaf)
    assert margin(logits, ground.held_y[:5]).requires_grad
    slopes = torch.autograd.grad(suspicion.sum(), leaf, allow_unused=True)[0] if suspicion.requires_grad else None
    assert slopes is None or not slopes.any()


def test_code_words_are_orthogonal_and_their_bits_are_read_back(ground):
    module = store.find("output_code").build()
    assert torch.equal(module.words @ module.words.T, 16 * torch.eye(10))
    module.heights = lambda x: 5 * module.words
    assert module(ground.held_x[:10]).argmax(dim=1).tolist() == list(range(10))


def test_distance_is_that_of_mahalanobis(ground):
    detector = made("mahalanobis", ground).detector
    features = torch.randn(5, 128, generator=torch.Generator().manual_seed(0))
    apart = features[:, None] - detector.means[None]
    precision = detector.whitening @ detector.whitening.T
    wanted = torch.einsum("bki,ij,bkj->bk", apart, precision, apart).amin(dim=1) / 128 - detector.threshold
    assert torch.allclose(detector(features), wanted, rtol=1e-3, atol=1e-3)
