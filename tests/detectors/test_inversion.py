"""A model's score from its triggers: by hand, and on a planted model and its twin."""

import math

import pytest
import torch

import backdoored
from redoubt.attacks.backdoor import Added
from redoubt.attacks.backdoor.invert import Inverted, Masked, Pixels, Search
from redoubt.detectors import Scanned, meta_score, scan_model


def scanned(*sizes: float) -> Scanned:
    trigger = Added(torch.zeros(1, 2, 2), 0.0, 1.0)
    found = tuple(Inverted(target, trigger, size, 1.0) for target, size in enumerate(sizes))
    return Scanned("by hand", found, tuple(float(-size) for size in sizes))


def test_shrinkage_is_how_many_times_smaller_the_smallest_is():
    assert scanned(2.0, 20.0, 20.0, 30.0, 40.0).shrinkage == pytest.approx(math.log(10))
    assert scanned(2.0, 20.0, math.inf, math.inf, math.inf).shrinkage == pytest.approx(math.log(10))
    assert scanned(*[math.inf] * 5).shrinkage == 0
    assert scanned(2.0, 20.0, 20.0, 30.0, 40.0).suspect.target == 0


def test_the_meta_score_is_the_mean_of_the_two_that_suspect_most():
    families = [scanned(1.0, math.e**k, math.e**k) for k in (0.5, 3.0, 2.0)]
    assert meta_score(families) == pytest.approx(2.5)


def test_a_planted_model_scores_far_above_its_twin():
    search, x = Search(steps=60, batch=16), backdoored.train().x
    planted, clean = (
        scan_model(model, x, range(6), 0, search, (Masked(), Pixels()))
        for model in (backdoored.planted(), backdoored.clean())
    )
    assert {each.suspect.target for each in planted} == {2}
    assert meta_score(planted) > 3 * max(meta_score(clean), 0.1)
