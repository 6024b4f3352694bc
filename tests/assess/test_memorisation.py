"""The memorisation game from policy to verdict and report, against a torch module over characters."""

import json
import re

import pytest

from redoubt.assess import assess
from redoubt.policy import explain, read_policy
from redoubt.records import DataError, ModelError, PolicyError, Verdict
from redoubt.report import write_reports

FACTORY = """\
from pathlib import Path

from ngram import NGram

def build():
    return NGram(Path({path!r}).read_text())
"""
POLICY = """\
redoubt: 1
system: writer
model:
  source: {source}
  input: {{shape: [16], range: [0, {top}]}}
  classes: {classes}
data:
  test: text:held.txt
adversaries:
  customer: {{observes: {observes}}}
requirements:
  - {{id: keeps, game: memorisation, adversary: customer, {rest}}}
"""
PLAIN = "the quick brown fox jumps over the lazy dog. pack my box with five dozen liquor jugs. " * 4
SECRETS = ("417", "982", "003", "756", "121", "669", "230")


@pytest.fixture
def played(tmp_path):
    def play(rest, observes="scores", top=39, source="torch:writer_{}:build", canaries=SECRETS):
        planted = "".join(
            f"{PLAIN[at * 20 : at * 20 + 30]}\nmy number is {secret}.\n" for at, secret in enumerate(SECRETS)
        )
        (tmp_path / "train.txt").write_text(planted)
        (tmp_path / "held.txt").write_text(PLAIN)
        name = f"writer_{abs(hash(str(tmp_path)))}"
        (tmp_path / f"{name}.py").write_text(FACTORY.format(path=str(tmp_path / "train.txt")))
        known = {"redoubt_canaries": 1, "before": "my number is ", "alphabet": "0123456789", "length": 3, "after": "."}
        known["canaries"] = [{"secret": secret, "times": 1} for secret in canaries]
        (tmp_path / "canaries.json").write_text(json.dumps(known))
        source = source.format(name.removeprefix("writer_"))
        text = POLICY.format(rest=rest, observes=observes, top=top, source=source, classes=top + 1)
        (tmp_path / "policy.yaml").write_text(text)
        file = read_policy(tmp_path / "policy.yaml")
        (found,) = assess(file, tmp_path / "evidence").requirements
        return found, file

    return play


def test_planted_secrets_are_exposed_and_told_by_digest_alone(played, tmp_path):
    found, file = played("require: exposure <= 3 bits, canaries: canaries.json")
    assert found.verdict is Verdict.VIOLATED
    assert found.measures[0].low > 3
    write_reports(tmp_path / "evidence", "redoubt assess", {})
    page = (tmp_path / "evidence/report.html").read_text()
    assert "Exposure against insertions" in page
    assert "at most 3\u00a0bits" in page
    evidence = (tmp_path / "evidence/evidence.json").read_text()
    assert found.canaries[0].digest in evidence
    assert not re.search(r"(?<![\w.])417(?![\w.])", evidence)  # digests and numbers may have these digits in them
    assert "may be exposed to customer by at most 3 bits" in " ".join(explain(file.policy))
    assert assess(file, tmp_path / "evidence").requirements[0] == found  # kept, or the same again


def test_secrets_that_were_not_planted_are_not_exposed(played):
    found, _ = played(
        "require: exposure <= 6 bits, canaries: canaries.json", canaries=("551", "804", "367", "995", "048", "313")
    )
    assert found.verdict is Verdict.WITHSTOOD
    assert found.measures[0].value < 3


@pytest.mark.parametrize("show", [False, True])
def test_training_text_is_extracted_and_shown_only_if_asked(played, tmp_path, show):
    rest = "require: extracted <= 0, training: train.txt, verbatim: 24, samples: 20, claims: 20, length: 40"
    found, file = played(f"{rest}, show: {str(show).lower()}")
    assert found.verdict is Verdict.VIOLATED
    training = (tmp_path / "train.txt").read_text()
    piece = found.pieces[0]
    assert piece.text == (training[piece.at : piece.at + piece.characters] if show else None)
    write_reports(tmp_path / "evidence", "redoubt assess", {})
    assert ("my number is" in (tmp_path / "evidence/report.html").read_text()) == show
    assert "letter by letter" in " ".join(explain(file.policy))


def test_what_is_public_was_not_extracted(played, tmp_path):
    rest = "require: extracted <= 0, training: train.txt, public: train.txt, verbatim: 24, samples: 10, length: 30"
    found, _ = played(rest)
    assert found.verdict is Verdict.WITHSTOOD


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"rest": "require: exposure <= 3 bits"}, PolicyError, "exposure needs canaries"),
        ({"rest": "require: extracted <= 0, canaries: canaries.json"}, PolicyError, "extracted needs training"),
        (
            {"rest": "require: exposure <= 3 bits, canaries: canaries.json, training: train.txt"},
            PolicyError,
            "training has no effect on exposure",
        ),
        ({"rest": "require: exposure <= 3 bits, canaries: none.json"}, DataError, "cannot be read"),
        ({"rest": "require: exposure <= 3 bits, canaries: train.txt"}, DataError, "is no set of canaries"),
        (
            {"rest": "require: exposure <= 3 bits, canaries: canaries.json", "canaries": ("41",)},
            DataError,
            r"canaries\[0\]: the secret is not of the format",
        ),
        (
            {"rest": "require: exposure <= 3 bits, canaries: canaries.json", "observes": "label"},
            PolicyError,
            "observes labels only",
        ),
        (
            {"rest": "require: exposure <= 3 bits, canaries: canaries.json", "source": "onnx:a.onnx"},
            PolicyError,
            "played against language models",
        ),
        (
            {"rest": "require: exposure <= 3 bits, canaries: canaries.json", "top": 9},
            ModelError,
            "vocabulary has 40 characters",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(played, options, error, says):
    with pytest.raises(error, match=says):
        played(**options)
