"""Every defence answers as agreed, and its gradient has the fault that its paper's attackers found."""

import pytest
import torch
import torch.nn.functional as F

from gallery import store
from gallery.attack import LEAST, answer, ascend, fooled, margin

ABSENT, ZERO, RANDOM = ("jpeg", "palette"), ("bit_depth",), ("resize_pad", "activation_pruning", "random_vote")
REFUSE = ("magnet", "odds", "feature_squeezing", "neural_detector", "deep_knn", "mahalanobis")
UNTAUGHT = ("jpeg", "bit_depth", "palette", "odds", "feature_squeezing", "neural_detector")  # the undefended network's


@pytest.fixture(scope="module")
def built(ground):
    """Each defence on the bars, fitted once and only if asked for."""
    known = {}

    def build(name):
        if name not in known:
            torch.manual_seed(0)
            defence = store.find(name)
            known[name] = defence.build()
            defence.fit(known[name], ground)
            known[name].eval().requires_grad_(False)
        return known[name]

    return build


def logits_of(module, x):
    found = module(x)
    return found[0] if isinstance(found, tuple) else found


def gradient(module, x, y, loss=margin):
    leaf = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(logits_of(module, leaf), y).sum(), leaf)
    return found


@pytest.mark.parametrize("name", store.NAMES)
def test_it_answers_logits_and_the_detectors_suspicion(name):
    torch.manual_seed(0)
    module = store.find(name).build().eval()
    found = module(torch.rand(3, 1, 28, 28))
    assert isinstance(found, tuple) == (name in REFUSE)
    assert logits_of(module, torch.rand(3, 1, 28, 28)).shape == (3, 10)
    if name in REFUSE:
        assert found[1].shape == (3,)
        assert found[1].is_floating_point()


@pytest.mark.parametrize("name", store.NAMES)
def test_the_same_seed_gives_the_same_answers_and_one_row_depends_on_itself_alone(name):
    torch.manual_seed(0)
    module, x = store.find(name).build().eval(), torch.rand(4, 1, 28, 28)
    runs = []
    for _ in range(2):
        torch.manual_seed(5)
        runs.append(logits_of(module, x))
    assert torch.equal(*runs)
    if name not in RANDOM:
        assert torch.allclose(logits_of(module, x[2:3]), runs[0][2:3], atol=1e-5)


@pytest.mark.parametrize("name", store.NAMES)
def test_all_that_it_learns_is_in_its_state(name, built, ground):
    fresh = store.find(name).build().eval()
    fresh.load_state_dict(built(name).state_dict())
    torch.manual_seed(0)
    one = fresh(ground.held_x[:20])
    torch.manual_seed(0)
    two = built(name)(ground.held_x[:20])
    pairs = zip(one, two, strict=True) if name in REFUSE else [(one, two)]
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", UNTAUGHT)
def test_it_reads_clean_images_and_refuses_few(name, built, ground):
    torch.manual_seed(0)
    labels, refused = answer(built(name), ground.held_x)
    assert (labels == ground.held_y).float().mean() > 0.9
    assert refused.float().mean() < 0.1


@pytest.mark.parametrize("name", [name for name in REFUSE if name != "deep_knn"])  # it counts, and counts tie
def test_the_detectors_refuse_the_share_that_their_threshold_was_chosen_for(name, built, ground):
    torch.manual_seed(0)
    refused = answer(built(name), ground.held_x)[1].float().mean()
    assert 0.02 < refused < 0.09  # 5 %; the noise of `odds` is drawn anew


def test_the_undefended_gradient_is_there(ground):
    slopes = gradient(ground.plain, ground.held_x[:20], ground.held_y[:20]).flatten(1)
    assert (slopes != 0).any(dim=1).all()
    assert slopes.flatten(1).norm(dim=1).min() > 1e-4


@pytest.mark.parametrize("name", ABSENT)
def test_autograd_never_hears_of_the_image(name, built, ground):
    leaf = ground.held_x[:4].clone().requires_grad_()
    assert not logits_of(built(name), leaf).requires_grad


@pytest.mark.parametrize("name", ZERO)
def test_the_gradient_is_zero_everywhere(name, built, ground):
    assert not gradient(built(name), ground.held_x[:20], ground.held_y[:20]).any()


@pytest.mark.parametrize("name", ["resize_pad", "activation_pruning"])
def test_two_gradients_of_one_image_disagree(name, built, ground):
    torch.manual_seed(0)
    x, y = ground.held_x[:20], ground.held_y[:20]
    one, two = (gradient(built(name), x, y).flatten(1) for _ in range(2))
    assert torch.cosine_similarity(one, two).mean() < 0.95
    assert torch.equal(gradient(ground.plain, x, y), gradient(ground.plain, x, y))


def test_the_odds_are_drawn_anew(built, ground):
    module = built("odds")
    assert not torch.equal(module(ground.held_x[:5])[1], module(ground.held_x[:5])[1])


def test_winners_change_within_a_step_that_is_straight_for_the_undefended(built, ground):
    x, y = ground.held_x[:50], ground.held_y[:50]

    def bent(module):
        there = (x + 0.02 * gradient(module, x, y).sign()).clamp(0, 1)
        here, after = (gradient(module, point, y).flatten(1) for point in (x, there))
        return 1 - torch.cosine_similarity(here, after).mean()

    assert bent(built("kwta")) > 2 * bent(ground.plain)


def test_logits_as_of_a_student_at_temperature_100_leave_cross_entropy_without_a_gradient(ground):
    student, x, y = store.find("distillation").build(), ground.held_x, ground.held_y
    student.load_state_dict(ground.plain.state_dict())
    with torch.no_grad():
        student[-1].weight *= 100
        student[-1].bias *= 100

    def entropy(logits, y):
        return F.cross_entropy(logits, y, reduction="none")

    right = student(x).argmax(dim=1) == y
    flat, steep = (gradient(module, x, y, entropy).flatten(1)[right] for module in (student, ground.plain))
    assert (flat == 0).all(dim=1).any()
    assert (flat.abs().amax(dim=1) < 1e-10).float().mean() > 0.5
    assert (steep.abs().amax(dim=1) > 1e-6).all()
    assert (gradient(student, x, y).flatten(1) != 0).any(dim=1).all()


def test_compression_and_rounding_change_little():
    from gallery.bit_depth import BitDepth
    from gallery.jpeg import Jpeg

    x = torch.linspace(0, 1, 28).expand(2, 1, 28, 28).contiguous()
    assert (BitDepth(3)(x) - x).abs().max() <= 1 / 14 + 1e-6
    assert len(BitDepth(3)(x).unique()) == 8
    assert 0 < (Jpeg(75)(x) - x).abs().max() < 0.1


def test_resizing_places_the_whole_image():
    from gallery.resize_pad import ResizePad

    torch.manual_seed(0)
    placed = ResizePad(31)(torch.ones(50, 1, 28, 28))
    sizes = placed.flatten(1).sum(dim=1).sqrt()
    assert placed.shape == (50, 1, 31, 31)
    assert set(sizes.tolist()) == {28.0, 29.0, 30.0}


def test_a_median_takes_out_a_speck():
    from gallery.feature_squeezing import Median

    x = torch.zeros(1, 1, 28, 28)
    x[0, 0, 10, 10] = 1
    assert not Median()(x).any()


def test_codewords_are_the_densest_levels_and_keep_apart():
    from gallery.palette import codewords

    x = torch.tensor([0.0] * 50 + [0.02] * 40 + [1.0] * 30 + [0.5] * 20)
    assert torch.allclose(codewords(x, 3), torch.tensor([0.0, 0.5, 1.0]), atol=0.01)


def test_the_neural_detector_sees_what_it_was_taught(built, ground):
    torch.manual_seed(0)
    x, y = ground.held_x[:100], ground.held_y[:100]
    moved = ascend(store.find("neural_detector").authors, ground.plain, ground.plain, x, y, 0.1)
    clean, bad = (built("neural_detector")(images)[1] for images in (x, moved))
    assert (bad[:, None] > clean[None]).float().mean() > 0.8  # the area under its ROC curve


def test_the_least_perturbation_goes_no_further_than_to_a_wrong_answer(ground):
    x, y = ground.held_x[:50], ground.held_y[:50]
    radius = 0.3
    moved = ascend(LEAST, ground.plain, ground.plain, x, y, radius)
    wrong = fooled(ground.plain, moved, y)
    assert wrong.float().mean() > 0.5
    assert (moved - x).abs().max() <= radius + 1e-6
    assert margin(ground.plain(moved), y)[wrong].max() < margin(ground.plain(x), y).abs().mean()
