"""Bounds of measures that are no shares: epsilon at a delta, bits, counts."""

import pytest

from redoubt.records import Bound


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epsilon <= 3", "write 'epsilon <= 3 at delta 1e-5'"),
        ("epsilon <= 3 bits at delta 1e-5", "write 'epsilon <= 3 at delta 1e-5'"),
        ("epsilon <= 3 at delta 2", "delta lies between 0 and 1"),
        ("epsilon >= 3 at delta 1e-5", "bounded from the other side"),
        ("robust_accuracy >= 0.5 at delta 1e-5", "has no delta"),
        ("robust_accuracy >= 3", "a share lies between 0 and 1"),
        ("exposure <= 3", "write 'exposure <= 3 bits'"),
        ("exposure <= 30 %", "write 'exposure <= 30 bits'"),
        ("extracted <= 0.5", "whole number"),
        ("epsilon <= nan at delta 1e-5", "expected"),
    ],
)
def test_units_of_bounds_are_checked(text, says):
    with pytest.raises(ValueError, match=says.replace("(", r"\(")):
        Bound.parse(text)


@pytest.mark.parametrize("text", ["epsilon <= 3.0 at delta 1e-05", "exposure <= 3.0 bits", "extracted <= 0.0"])
def test_bounds_are_read_as_they_are_written(text):
    assert str(Bound.model_validate(Bound.parse(text))) == text
