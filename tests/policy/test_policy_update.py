"""The update section of a policy: what cannot be meant, with file, line and remedy; and what it means, in sentences."""

import pytest
from policy_texts import GUARD, SOUND, line_of, parsed, refused

from redoubt.policy import explain

BARE = "update:\n  bounds: [disagreement <= 5 %]\n"
STORED = "update:\n  bounds:\n    - disagreement <= 5 %\n    - stored_changes <= 5 %\n"
DEMAND = "  demand: {attestation: evidence.sig, key: assessor.pub}\n"
SIGNED = "  weights: model.safetensors\n"

CASES = [
    ("disagreement <= 5 %", "disagrement <= 5 %", "unknown measure 'disagrement'", "write one of"),
    ("disagreement <= 5 %", "disagreement < 5 %", "expected '<measure> <= <number>'", "write for example"),
    ("disagreement <= 5 %", "disagreement <= 1e9 %", "bounds nothing", "a share from 0 to less than 1"),
    ("disagreement <= 5 %", "disagreement <= 5, disagreement <= 6", "bounds nothing", "a share from 0"),
    ("bounds: [disagreement <= 5 %]", "bounds: []", "at least 1", ""),
    ("bounds: [disagreement <= 5 %]", "total: 0.5", "1", ""),
    ("bounds: [disagreement <= 5 %]", "held_out: idz:mnist/test", "unknown data source 'idz:mnist/test'", "idx"),
    ("bounds: [disagreement <= 5 %]", "held_out: idx:mnist/train", "held_out is what the model was trained on", "name"),
    ("bounds: [disagreement <= 5 %]", "learn: {epoch: 3}", "epoch", "epochs"),
    ("bounds: [disagreement <= 5 %]", "limits: {memory: 8 GB}", "unknown unit 'GB'", "8 GiB"),
]


@pytest.mark.parametrize(("old", "new", "says", "remedy"), CASES, ids=[case[1][:40] for case in CASES])
def test_each_wrong_key_stands_in_its_line_and_has_a_remedy(old, new, says, remedy):
    text = SOUND + BARE.replace(old, new)
    error = refused(text)
    assert says in str(error)
    assert error.remedy
    assert remedy in str(error)
    assert error.where.line == line_of(text, new.split(",")[0])


def test_two_bounds_on_one_measure_are_one_too_many():
    error = refused(SOUND + BARE.replace("<= 5 %", "<= 5 %, disagreement <= 6 %"))
    assert "disagreement is bounded already" in str(error)


CONTRADICTIONS = [
    (SOUND.replace("torch:digits.model:build   # a factory", "http://localhost:8080/v2/models/m").replace(SIGNED, ""),
     BARE, "update:", "a source of http: has no file of weights that a candidate could replace", "give the model as"),
    (SOUND + GUARD + DEMAND, BARE, "update:", "guard.demand asks for evidence about each model", "attest"),
    (SOUND.replace(SIGNED, SIGNED + "  signature: {bundle: m.sig, key: k.pub, of: model}\n"), BARE, "update:",
     "model.signature is about a folder", "sign the model's file alone"),
    (SOUND + GUARD, STORED, "- stored_changes", "no past inputs are kept to ask again", "add 'input'"),
    (SOUND + GUARD.replace("[digest, fingerprint, decision]", "[digest, fingerprint, decision, input]"),
     STORED + "  queries: 0\n", "- stored_changes", "stored_changes needs past queries", "remove queries: 0"),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "section", "line", "says", "remedy"), CONTRADICTIONS, ids=lambda one: one[-30:])
def test_what_does_not_go_with_an_update_section(policy, section, line, says, remedy):
    text = policy + section
    error = refused(text)
    assert says in error.what
    assert remedy in error.remedy
    assert error.where.line == line_of(text, line)
    assert str(error.where).startswith("folder/policy.yaml:")


def test_it_is_explained_with_what_is_not_assessed_again():
    said = " ".join(explain(parsed(SOUND + BARE).policy))
    assert "Evasion requirements are assessed again on 50 examples" in said
    assert "Not assessed again" not in said
    member = "  - {id: who-was-in, game: membership, adversary: customer, require: membership_auc <= 0.6}\nharden:\n"
    both = " ".join(explain(parsed((SOUND + BARE).replace("harden:\n", member)).policy))
    assert "Evasion requirements are assessed again" in both
    assert "Not assessed again: who-was-in (membership)." in both
    none = " ".join(explain(parsed(SOUND + BARE + "  requirements: ignore\n").policy))
    assert "Evasion requirements are assessed again" not in none
    assert "Not assessed again: small-noise (evasion) and turn-and-shift (evasion)." in none
