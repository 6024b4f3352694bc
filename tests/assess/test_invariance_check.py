"""The look for training inputs of another class, end to end: beside the verdict, never in it."""

import pytest

from redoubt.assess import assess
from redoubt.policy import parse_policy, read_policy
from redoubt.report import write_reports
from redoubt.report.read import read_folder
from tables import COLUMNS, write_grants

REQUIREMENTS = """\
requirements:
  - id: small-noise
    game: evasion
    adversary: insider
    within: {any_of: [{norm: l1, radius: 0.1}, {norm: linf, radius: 0.02}]}
    require: robust_accuracy >= 0.3
    strategies: [apgd-ce]
"""
PLANTED = 10


def reachable_in(folder, norm, radius):
    """How many test rows have a training row of the other label in the ball, from the files, pair by pair."""

    def rows(name):
        return [[float(cell) for cell in line.split(",")] for line in (folder / name).read_text().splitlines()[1:]]

    def apart(a, b):
        moves = [abs(u - v) for u, v in zip(a[:6], b[:6], strict=True)]
        return sum(moves) if norm == "l1" else max(moves)

    train = rows("train.csv")
    return sum(
        any(one[6] != row[6] and apart(one, row) <= radius + 1e-6 for one in train) for row in rows("grants.csv")
    )


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """The same system, with and without training data in the policy; evidence of both, and their folders."""
    folder = tmp_path_factory.mktemp("grants")
    text = write_grants(folder, count=40).read_text()
    text = text[: text.index("requirements:")] + REQUIREMENTS
    rows = [line.split(",") for line in (folder / "grants.csv").read_text().splitlines()[1:]]
    # Half a step of hours away from the first ten, and of the other class; all others far from everything.
    near = [[str(float(r[0]) + 0.05), *r[1:6], str(1 - int(r[6]))] for r in rows[:PLANTED]]
    far = [["1", "1", "1", "1", "1", "1", label] for label in "01"]
    (folder / "train.csv").write_text("\n".join(",".join(row) for row in [COLUMNS, *near, *far]) + "\n")
    found = {}
    for name, more in (("without", ""), ("with", "  train: csv:train.csv\n")):
        path = folder / f"{name}.yaml"
        path.write_text(text.replace("data:\n", f"data:\n{more}"))
        found[name] = assess(read_policy(path), folder / name), folder / name
    return found


def test_planted_inputs_are_counted_in_each_ball_that_holds_them(judged):
    evidence, folder = judged["with"]
    l1, linf = evidence.requirements[0].invariance
    expected = reachable_in(folder.parent, "l1", 0.1)
    assert PLANTED <= expected < 40
    assert (l1.within, l1.training, l1.examined, l1.reachable) == ("L1 0.1", "csv:train.csv", 40, expected)
    assert (linf.within, linf.reachable, linf.kept) == ("Linf 0.02", reachable_in(folder.parent, "linf", 0.02), 0)
    # 0.05 hours are 0.2 of the score: the model crosses its border at few of them, and keeps the label at the others.
    assert expected - 4 <= l1.kept <= expected
    assert 1 <= len(l1.shown) <= 3
    assert all(one.other == 1 - one.label for one in l1.shown)


def test_the_verdict_is_the_same_with_and_without(judged):
    one, other = (judged[name][0].requirements[0] for name in ("with", "without"))
    assert other.invariance == ()
    assert (one.verdict, one.reason, one.measures) == (other.verdict, other.reason, other.measures)


def test_the_report_says_it_and_only_where_it_was_looked_for(judged):
    pages = {
        name: write_reports(folder, "redoubt assess", {})["html"].read_text() for name, (_, folder) in judged.items()
    }
    count = judged["with"][0].requirements[0].invariance[0].reachable
    assert f"{count} of 40 inputs have a training input of another class within L1 0.1" in pages["with"]
    assert "None of 40 inputs has a training input of another class within Linf 0.02" in pages["with"]
    assert "training input of another class" not in pages["without"]


def test_the_pairs_are_kept(judged):
    _, folder = judged["with"]
    pairs = read_folder(folder).others["small-noise"]
    assert pairs
    for pair in pairs:
        assert 0.04 < abs(pair.training - pair.example).sum() < 0.06


def test_training_data_that_cannot_be_read_are_an_error(judged):
    folder = judged["with"][1].parent
    text = (folder / "with.yaml").read_text().replace("train.csv", "none.csv")
    with pytest.raises(Exception, match=r"none\.csv"):
        assess(parse_policy(text.encode(), folder / "with.yaml"), folder / "nothing")
