"""Images stood upright: slant and place are taken off, each by itself."""

import pytest
import torch

from redoubt.harden.private import upright
from redoubt.records import DataError


def stroke(slant, across=0.0, down=0.0):
    """A thick line on 28 x 28, leaning by `slant` columns a row."""
    rows = torch.arange(28.0).view(-1, 1) - 13.5 - down
    columns = torch.arange(28.0).view(1, -1) - 13.5 - across
    return ((1.5 - (columns - slant * rows).abs()).clamp(0, 1) * (rows.abs() < 7)).view(1, 1, 28, 28)


@pytest.mark.parametrize("slant", [-0.5, 0.3, 0.6])
def test_a_leaning_stroke_stands_in_the_middle(slant):
    straight, found = stroke(0.0), upright(stroke(slant, 2.0, -3.0))
    leaning = stroke(slant, 2.0, -3.0)
    assert float((found - straight).abs().mean()) < 0.35 * float((leaning - straight).abs().mean())


def test_what_stands_stays_and_what_is_empty_too():
    assert torch.allclose(upright(stroke(0.0)), stroke(0.0), atol=1e-4)
    assert not upright(torch.zeros(2, 1, 28, 28)).any()


def test_an_image_is_looked_at_by_itself_alone():
    both = torch.cat([stroke(0.4), stroke(-0.2, 1.0)])
    assert torch.allclose(upright(both)[1], upright(both[1:])[0], atol=1e-6)


def test_what_are_no_strokes_is_refused():
    for wrong in (torch.zeros(3, 28, 28), torch.full((1, 1, 28, 28), -0.1)):
        with pytest.raises(DataError, match="no strokes"):
            upright(wrong)
