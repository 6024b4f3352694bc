"""Each attack owes the same; and each is compared with a naive twin written straight from its paper."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from redoubt.attacks.membership import (
    RMIA,
    LabelAugmentation,
    LabelNoise,
    LiRA,
    LossThreshold,
    OfflineLiRA,
    OfflineRMIA,
    ShadowClassifier,
    greatest,
    halves,
    lira_offline,
    lira_online,
    log_probability,
    rmia,
    scaled_confidence,
)
from redoubt.attacks.membership.conformance import MembershipConformance, scene
from redoubt.attacks.membership.rmia import log_likelihood_offline, log_likelihood_online
from redoubt.attacks.membership.shadow_classifier import fit_logistic
from redoubt.models import Face


class TestLossThreshold(MembershipConformance):
    attack = LossThreshold()


class TestShadowClassifier(MembershipConformance):
    attack = ShadowClassifier()
    alone = False


class TestLiRA(MembershipConformance):
    attack = LiRA()
    least = 0.9


class TestOfflineLiRA(MembershipConformance):
    attack = OfflineLiRA()
    least = 0.9


class TestRMIA(MembershipConformance):
    attack = RMIA()
    least = 0.7
    alone = False


class TestOfflineRMIA(MembershipConformance):
    attack = OfflineRMIA()
    least = 0.65
    alone = False


class TestLabelAugmentation(MembershipConformance):
    attack = LabelAugmentation()


class TestLabelNoise(MembershipConformance):
    attack = LabelNoise()


# ── twins ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("enough", [1, 10_000])
def test_lira_is_algorithm_1(enough):
    view, _ = scene(30, 12, 1.0, 0)
    target, own = view.target.confidence[:, 0].numpy(), view.shadows
    phi, inside = own.confidence.numpy(), own.inside.numpy()
    spread = {
        side: [np.var(phi[mask[:, i], i], ddof=1) for i in range(30)]
        for side, mask in (("in", inside), ("out", ~inside))
    }
    if enough > 100:  # few shadow models: one variance for all
        spread = {side: [np.mean(values)] * 30 for side, values in spread.items()}
    online, offline = [], []
    for i in range(30):
        mean_in, mean_out = phi[inside[:, i], i].mean(), phi[~inside[:, i], i].mean()
        p_in = norm.pdf(target[i], mean_in, math.sqrt(spread["in"][i]))
        p_out = norm.pdf(target[i], mean_out, math.sqrt(spread["out"][i]))
        online.append(p_in / p_out)
        offline.append(norm.cdf(target[i], mean_out, math.sqrt(spread["out"][i])))
    given = (torch.tensor(target), own.confidence, own.inside)
    np.testing.assert_allclose(lira_online(*given, enough=enough).exp().numpy(), online, rtol=1e-8)
    np.testing.assert_allclose(norm.cdf(lira_offline(*given, enough=enough).numpy()), offline, rtol=1e-8)


@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_rmia_counts_pairs(gamma):
    view, _ = scene(25, 8, 1.0, 1)
    own, target = view.shadows, torch.sigmoid(view.target.confidence[:, 0])
    p, a = torch.sigmoid(own.confidence), 0.3
    for likelihood, naive in (
        (log_likelihood_online(log_probability(own.confidence)), lambda i: float(p[:, i].mean())),
        (
            log_likelihood_offline(log_probability(own.confidence), own.inside, a),
            lambda i: ((1 + a) * float(p[~own.inside[:, i], i].mean()) + 1 - a) / 2,
        ),
    ):
        ratios = [float(target[i]) / naive(i) for i in range(25)]
        expected = [sum(x / z >= gamma * (1 - 1e-12) for z in ratios) / 25 for x in ratios]
        log_target = log_probability(view.target.confidence[:, 0])
        found = rmia(log_target, likelihood, log_target - likelihood, gamma=gamma)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_the_classifier_is_scikit_learn_s_logistic_regression():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(300, 4, generator=rng, dtype=torch.float64)
    member = torch.rand(300, generator=rng) < torch.sigmoid(2 * x[:, 0] - x[:, 1])
    weights = fit_logistic(torch.cat([x, torch.ones(300, 1, dtype=torch.float64)], dim=1), member, 1.0)
    twin = LogisticRegression(C=1.0, tol=1e-12, max_iter=10_000).fit(x.numpy(), member.numpy())
    np.testing.assert_allclose(weights[:-1].numpy(), twin.coef_[0], atol=1e-6)
    assert float(weights[-1]) == pytest.approx(twin.intercept_[0], abs=1e-6)


def test_the_classifier_bears_perfectly_separable_members():
    x = torch.tensor([[-1.0, 1.0], [1.0, 1.0]], dtype=torch.float64).repeat(50, 1)
    assert fit_logistic(x, x[:, 0] > 0, 1e-6).isfinite().all()


def test_confidence_is_the_logit_of_the_true_class():
    logits = torch.randn(40, 5, dtype=torch.float64)
    y = torch.randint(5, (40,))
    p = logits.softmax(1)[torch.arange(40), y]
    torch.testing.assert_close(scaled_confidence(logits, y), torch.log(p / (1 - p)))
    torch.testing.assert_close(log_probability(scaled_confidence(logits, y)), torch.log(p))
    stacked = scaled_confidence(torch.stack([logits, logits + 3]), y)
    torch.testing.assert_close(stacked[0], stacked[1])  # a shift of all logits says nothing


def test_certainty_and_refusal_are_finite():
    scores = torch.tensor([[0.0, -torch.inf], [1e30, -1e30], [torch.nan, 0.0]])
    found = scaled_confidence(scores, torch.tensor([0, 0, 0]))
    assert found.tolist() == [-50.0, 50.0, -50.0]
    assert greatest(scores).isfinite().all()


def test_every_record_is_in_exactly_half_and_more_models_change_no_earlier_ones():
    few, many = halves(8, 101, 3), halves(32, 101, 3)
    assert (many.sum(dim=0) == 16).all()
    assert set(many.sum(dim=1).tolist()) == {50, 51}
    assert torch.equal(many[:8], few)
    assert not torch.equal(few, halves(8, 101, 4))
    with pytest.raises(ValueError, match="even"):
        halves(7, 10, 0)


def test_shifts_move_images_and_fill_with_the_lowest_value():
    x = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    moved = LabelAugmentation(shift=1).variants(x, Face((1, 3, 3), 0.0, 9.0, 2), torch.Generator())
    assert moved.shape == (1, 9, 1, 3, 3)
    down_right = [[0.0, 0.0, 0.0], [0.0, 1.0, 2.0], [0.0, 4.0, 5.0]]
    assert any(torch.equal(one[0], torch.tensor(down_right)) for one in moved[0])
    assert LabelAugmentation().refuses(Face((7,), 0.0, 1.0, 2)) is not None


def test_too_few_shadow_models_are_refused():
    view, _ = scene(20, 2, 1.0, 0)
    with pytest.raises(ValueError, match="1 shadow models only"):
        LiRA().scores(view)
