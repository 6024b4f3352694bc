"""The verdicts of the gallery's table."""

import pytest

import results_gallery
from results_gallery import verdict


def found(**parts):
    shares = {name.replace("_", " "): {"standing": {"hits": hits, "of": 100}} for name, hits in parts.items()}
    return {"name": "some", **shares}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"undefended": 0, "by_hand": 30, "adaptive": 5}, "broken"),
        ({"undefended": 0, "by_hand": 30, "adaptive": 6}, "**not broken**"),
        ({"undefended": 10, "by_hand": 2, "adaptive": 7}, "broken"),
        ({"undefended": 10, "by_hand": 2, "adaptive": 8}, "**not broken**"),
        ({"undefended": 10, "by_hand": 2}, "–"),
    ],
)
def test_broken_is_within_five_points_of_the_lower(parts, said):
    assert verdict(found(**parts)) == said


def test_without_results_there_is_no_section(monkeypatch):
    monkeypatch.setattr(results_gallery, "told", lambda name: None)
    assert list(results_gallery.section()) == []
