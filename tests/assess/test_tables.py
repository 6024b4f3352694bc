"""Tables end to end: the policy is explained, played, and the report says which features moved."""

import re
from pathlib import Path

import pytest

from redoubt.assess import assess
from redoubt.policy import explain, parse_policy, read_policy
from redoubt.records import PolicyError
from redoubt.report import write_reports
from tables import POLICY, write_grants


@pytest.fixture(scope="module")
def assessed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grants")
    file = read_policy(write_grants(folder))
    return assess(file, folder / "evidence"), folder / "evidence"


def best_possible(row):
    """Whether some change within the rules crosses the border, by trying all: independent of the set."""
    *x, label = row
    hours = [x[0] + 0.05 * k for k in range(-2, 3) if 0 <= x[0] + 0.05 * k <= 0.8 + 1e-6]
    sector = max(range(3), key=lambda at: x[2 + at])
    places = [-1.0, 0.0, 1.0]
    base = x[1] + 3 * x[5]
    scores = [4 * h + base + places[sector] for h in hours] + [4 * x[0] + base + place for place in places]
    return any((score > 3.4) != bool(label) for score in scores)


def test_exactly_the_rows_that_can_fall_do(assessed):
    evidence, folder = assessed
    lines = (folder.parent / "grants.csv").read_text().splitlines()[1:]
    can_fall = [best_possible([float(cell) for cell in line.split(",")]) for line in lines]
    assert 0.1 < sum(can_fall) / len(can_fall) < 0.9
    for requirement in evidence.requirements:
        fell = [example.perturbed is not None for example in requirement.examples]
        assert fell == can_fall, requirement.id
        assert not requirement.signs  # nor does anything break where a budget of the curve buys nothing


def test_evidence_names_the_features_that_moved(assessed):
    evidence, _ = assessed
    for requirement in evidence.requirements:
        for example in requirement.examples:
            assert bool(example.moves) == (example.perturbed is not None)
            assert {move.feature for move in example.moves} <= {"hours", "sector"}
            assert sum(move.cost for move in example.moves) <= 2 + 1e-4
            for move in example.moves:
                if move.feature == "hours":
                    assert float(move.after) % 5 == pytest.approx(0, abs=1e-3)
                    assert float(move.after) <= 80.001
                else:
                    assert {move.before, move.after} <= {"farm", "shop", "office"}
            if example.distance is not None:
                assert example.distance == pytest.approx(sum(move.cost for move in example.moves), abs=1e-3)


def test_the_report_shows_features_old_and_new(assessed):
    _, folder = assessed
    page = write_reports(folder, "redoubt assess policy.yaml", {})["html"].read_text()
    assert "What was changed" in page
    assert "sector" in page
    assert "office" in page
    assert "every feature that was changed" in page


def test_check_says_in_plain_words_what_may_change(tmp_path):
    said = "\n".join(explain(read_policy(write_grants(tmp_path)).policy))
    assert (
        "change the features of a row at a cost of at most 2 together: hours (by steps of 5, at 1 a step, from 0 to "
        "80) and sector (to any other of 3 values, at 2); everything else stays as it is" in said
    )
    assert "feature-search" in said


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("at: 0, scale", "at: 6, scale", "counted from 0"),
        ("at: 0, scale", "at: 3, scale", "already"),
        ("at: [2, 4], kind", "at: [4, 2], kind", "expected \\[first, last\\]"),
        ("high: 80", "high: 180", "cannot be 180"),
        ("values: [farm, shop, office]", "values: [farm, shop]", "3 columns"),
        ("step: 5, cost: 1", "stepp: 5, cost: 1", "step"),
        ("kind: category", "kind: number", "kind: category"),
        ("kind: category, cost: 2", "kind: category, cost: 0", "greater than 0"),
        ("budget: 2\n    require", "require", "budget"),
        ("shape: [6]", "shape: [1, 2, 3]", "columns of a table"),
        ("range: [0, 1]", "range: [0.1, 1]", "0 or 1"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(old, new, what):
    text = POLICY.replace(old, new)
    assert text != POLICY
    with pytest.raises(PolicyError) as caught:
        parse_policy(text.encode(), Path("policy.yaml"))
    assert re.search(what, str(caught.value))
    assert "policy.yaml:" in str(caught.value)
