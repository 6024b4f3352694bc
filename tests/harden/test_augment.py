"""Augmentation: training sees images that are turned and shifted, by amounts of their own, the same by seed."""

import pytest
import torch
from torch import Generator

from redoubt.data import Dataset
from redoubt.harden.augment import augmentation, augmented
from redoubt.harden.course import begin
from redoubt.harden.train import Training, train
from redoubt.models import Face, TorchModel
from redoubt.perturb import LinfBall
from redoubt.records import Augmentation, PolicyError, Recipe

FACE = Face((1, 8, 8), -1.0, 1.0, 2)
ASKED = Augmentation(rotation="20 deg", translation="2 px")


def weight_after(augment, epochs=2):
    """The weights of a linear model that learns whether the left half is bright, and the course it took."""
    torch.manual_seed(0)
    x = -torch.ones(32, 1, 8, 8)
    y = torch.arange(32) % 2
    x[y == 1, :, :, :4] = 1.0
    data = Dataset(x, y, "halves", "sha256:0")
    model = TorchModel(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)), FACE)
    recipe = Recipe(attack="none", epochs=epochs, learning_rate=0.1)
    course = begin(model, recipe)
    turn = augmentation(augment, FACE) if augment else None
    list(train(course, Training(data, data, LinfBall(0.1, -1.0, 1.0), recipe, seed=1, augment=turn)))
    return model.module[1].weight.detach().clone(), course


def test_each_image_moves_by_an_amount_of_its_own_within_the_range_and_black_comes_in():
    x = torch.ones(16, 1, 8, 8)
    moved = augmented(x, augmentation(ASKED, FACE), Generator().manual_seed(0))
    assert len({picture.numpy().tobytes() for picture in moved}) == 16
    assert moved.min() == -1.0  # the low end of the range, not zero
    assert moved.max() <= 1.0


def test_training_sees_the_moved_images_at_no_pass_more_and_takes_the_same_course_again():
    plain, without = weight_after(None)
    moved, course = weight_after(ASKED)
    again, _ = weight_after(ASKED)
    assert not torch.allclose(plain, moved, atol=1e-3)
    assert torch.equal(moved, again)
    assert course.count.forwards == without.count.forwards


def test_rows_of_a_table_are_refused():
    with pytest.raises(PolicyError, match=r"images \[C, H, W\]; the inputs are \[5\]"):
        augmentation(ASKED, Face((5,), 0.0, 1.0, 2))


def test_what_moves_nothing_is_refused():
    with pytest.raises(ValueError, match="nothing is augmented"):
        Recipe(augment={"rotation": "0 deg"})
