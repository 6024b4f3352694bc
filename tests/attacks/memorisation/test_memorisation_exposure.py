"""Canaries, likelihoods and exposures, on models whose probabilities are known."""

import math

import pytest
import torch
from torch import nn

from ngram import LETTERS, model_of
from redoubt.attacks.memorisation import Canary, Format, bits, draw_canaries, exposures, plant
from redoubt.models.language import CharacterModel
from redoubt.records import DataError, PolicyError

PIN = Format("my number is ", "0123456789", 3, ".")


class Places(nn.Module):
    """Each place has probabilities of its own, whatever came before; equal ones everywhere if `spread` is 0."""

    def __init__(self, spread, seed=0):
        super().__init__()
        self.logits = spread * torch.randn(64, len(LETTERS), generator=torch.Generator().manual_seed(seed))

    def forward(self, tokens):
        return self.logits[: tokens.shape[1]].expand(len(tokens), -1, -1)


def places(spread, seed=0):
    return CharacterModel(Places(spread, seed), LETTERS, 64)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# ── likelihood ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_uniform_model_needs_log2_of_its_alphabet_for_each_character():
    assert bits(places(0), ["abcde", "ab"]).tolist() == pytest.approx([4 * math.log2(len(LETTERS)), math.log2(40)])


def test_texts_of_different_length_do_not_change_each_other():
    model, texts = model_of("abc abd abe " * 9), ["abc abd", "ab", "abe abe abe abe"]
    together, alone = bits(model, texts, at_once=3), torch.cat([bits(model, [text]) for text in texts])
    assert torch.equal(together, alone)


@pytest.mark.parametrize("text", ["a", "", "a\u00e9"])
def test_texts_without_a_likelihood_are_refused(text):
    with pytest.raises(DataError):
        bits(places(0), [text])


# ── exposure ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_planted_secret_stands_ahead_of_all_others():
    model = model_of("some text before. " + PIN.text("417") * 2 + " and some after.", order=12)
    found = exposures(model, PIN, ["417", "982"], rng())
    assert found.method == "exact"
    assert found.bits[0] == pytest.approx(math.log2(1000))
    assert found.bits[1] < 4


def test_exact_exposure_is_that_of_the_definition():
    model, secrets = places(2.0), ["000", "417", "999"]
    every = {number: float(bits(model, [PIN.text(PIN.secret(number))])) for number in range(PIN.size)}
    for secret, found in zip(secrets, exposures(model, PIN, secrets, rng()).bits.tolist(), strict=True):
        rank = 1 + sum(other < every[int(secret)] - 1e-9 for other in every.values())
        assert found == pytest.approx(math.log2(PIN.size) - math.log2(rank), abs=1e-6)


def test_where_all_are_equally_likely_a_secret_has_one_bit():
    assert exposures(places(0), PIN, ["417"], rng()).bits.item() == pytest.approx(1, abs=2e-3)


def test_unseen_secrets_have_each_exposure_as_often_as_the_definition_says():
    """At least x bits with probability 2^-x; three times as often, or a third, would be noticed."""
    found = exposures(places(1.0), PIN, PIN.draw(600, rng(5)), rng()).bits
    for x in (1, 2, 3):
        share = float((found >= x).double().mean())
        assert 2 / 3 < share * 2**x < 3 / 2


def test_the_estimate_agrees_with_exact_ranks():
    form = Format("x ", "0123456789", 4, ".")
    model, secrets = places(0.4, 3), form.draw(40, rng(1))
    exact = exposures(model, form, secrets, rng())
    estimated = exposures(model, form, secrets, rng(), sample=6000, listed=0)
    assert (exact.method, estimated.method) == ("exact", "estimated")
    assert estimated.misfit < 0.05
    near = exact.bits < 9  # further out a few secrets decide the rank
    assert (estimated.bits - exact.bits)[near].abs().max() < 0.8


def test_the_estimate_knows_a_planted_secret_too():
    form = Format("my number is ", "0123456789", 9, ".")
    model = model_of("before. " + form.text("417417417") * 3, order=12)
    found = exposures(model, form, ["417417417", "982982981"], rng(), sample=500)
    assert found.bits[0] > 15
    assert found.bits[0] <= math.log2(form.size)


def test_secrets_of_another_format_and_too_long_ones_are_refused():
    with pytest.raises(DataError, match="no secret of this format"):
        exposures(places(0), PIN, ["41"], rng())
    with pytest.raises(DataError, match="longer than the 64 tokens"):
        exposures(places(0), Format("a" * 70, "01", 2), ["01"], rng())


# ── canaries ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_canaries_are_planted_as_often_as_they_say():
    canaries = draw_canaries(PIN, {0: 2, 1: 3, 4: 2}, rng())
    records = ["x" * 40] * 50
    planted, owner = plant(records, PIN, canaries, rng())
    assert len({canary.secret for canary in canaries}) == 7
    for at, canary in enumerate(canaries):
        assert sum(PIN.text(canary.secret) in record for record in planted) == canary.times == int((owner == at).sum())
    assert all(len(record) == 40 for record in planted)
    assert int((owner < 0).sum()) == sum(record == "x" * 40 for record in planted) == 50 - 11


def test_what_cannot_be_planted_is_refused():
    with pytest.raises(PolicyError, match="do not fit"):
        plant(["x" * 40], PIN, [Canary("123", 2)], rng())
    with pytest.raises(PolicyError, match="do not fit"):
        plant(["x" * 5] * 9, PIN, [Canary("123", 2)], rng())
    with pytest.raises(PolicyError, match="would crowd it"):
        draw_canaries(Format("", "01", 2), {1: 3}, rng())
    with pytest.raises(PolicyError, match="told apart"):
        Format("", "00", 2)
