"""A ledger is read strictly, knows whom an event touches, and its report says what is true."""

import json
import sys

import pytest
from scipy.stats import norm

from redoubt.bounds.privacy.events import (
    KINDS,
    AccountedSearch,
    DataDependent,
    DeclaredSearch,
    GaussianRelease,
    LaplaceRelease,
    NoisyMax,
    PoissonGaussian,
    PublicSearch,
    PublicTraining,
    ThresholdCheck,
)
from redoubt.bounds.privacy.explain import describe_event, explain_spend
from redoubt.bounds.privacy.ledger import Allowance, Group, PrivacyLedger
from redoubt.bounds.privacy.read import MOST_BYTES, parse_ledger, read_ledger, write_ledger
from redoubt.bounds.privacy.spend import must_be_within, spend
from redoubt.cli.app import run
from redoubt.records import DataError, PolicyError

RELEASE = GaussianRelease(noise_multiplier=2.0)
EVENTS = (
    PoissonGaussian(rate=0.1, noise_multiplier=4.0, steps=50),
    GaussianRelease(noise_multiplier=9.0, times=2, what="means"),
    LaplaceRelease(noise_multiplier=9.0),
    ThresholdCheck(noise_multiplier=50.0, times=5),
    NoisyMax(deviation=50.0, times=5),
    DataDependent(part="noisy-max", order=14.0, cost=0.3, times=200),
    AccountedSearch(mean=3.0, run=(RELEASE,)),
    DeclaredSearch(settings=4),
    PublicSearch(settings=4),
    PublicTraining(data="fashion-mnist", digest=f"sha256:{'0' * 64}"),
)
GROUPS = {
    "opted-in": Group(budget=Allowance(epsilon=2.0, delta=1e-5)),
    "adults": Group(),
    "children": Group(disjoint_from=("adults",)),
}
GOOD = b'{"redoubt_privacy":1,"events":[{"kind":"gaussian-release","noise_multiplier":3}]}'


def test_every_event_survives_the_file_and_the_same_ledger_is_the_same_bytes():
    ledger = PrivacyLedger(groups=GROUPS, events=EVENTS)
    raw = write_ledger(ledger)
    assert parse_ledger(raw, "ledger.json") == ledger
    assert write_ledger(parse_ledger(raw, "ledger.json")) == raw
    assert tuple(event.kind for event in EVENTS) == KINDS
    assert all(describe_event(event) for event in EVENTS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ((b"gaussian-release", b"shuffled-gaussian"), r"events\[0\]: unknown event 'shuffled-gaussian'"),
        ((b"gaussian-release", b"gaussian-relase"), "did you mean 'gaussian-release'"),
        ((b'"kind"', b'"kid"'), r"events\[0\]: an event without `kind`"),
        ((b"3}", b'3,"sigma":3}'), r"events\[0\].sigma: unknown key"),
        ((b"3}", b'3,"on":"vip"}'), r"events\[0\].on: there is no group 'vip'"),
        ((b"3}", b'3,"noise_multiplier":30}'), "'noise_multiplier' stands twice"),
        ((b"3}", b'3,"times":1.5}'), r"events\[0\].times"),
        ((b"3}", b'3,"times":true}'), r"events\[0\].times"),
        ((b"3}", b"0}"), r"events\[0\].noise_multiplier"),
        ((b"3}", b"-3}"), r"events\[0\].noise_multiplier"),
        ((b"3}", b'"3"}'), r"events\[0\].noise_multiplier"),
        ((b"3}", b"NaN}"), "NaN"),
        ((b"3}", b"1e999}"), r"events\[0\].noise_multiplier"),
        ((b"3}]}", b"3}]"), r"ledger.json:1:\d+: is no JSON"),
        ((b":1,", b":2,"), "redoubt_privacy"),
        ((b"redoubt_privacy", b"redoubt"), "is no privacy ledger"),
        ((GOOD, b"[" * 100_000), "nested too deep"),
        ((GOOD, b"\xff"), "no sound JSON"),
        ((GOOD, b'{"redoubt_privacy":' + b"9" * 5000 + b"}"), "no sound JSON"),
        ((GOOD, b" " * (MOST_BYTES + 1)), "more than"),
        ((GOOD, b""), "is no JSON"),
    ],
)
def test_what_is_no_ledger_is_refused_with_place_and_remedy(change, says):
    raw = GOOD.replace(*change)
    assert raw != GOOD
    with pytest.raises(DataError, match=says) as caught:
        parse_ledger(raw, "ledger.json")
    assert caught.value.where.file == "ledger.json"
    assert caught.value.remedy
    parse_ledger(GOOD, "ledger.json")


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_ledger(tmp_path / "ledger.json")


def test_groups_overlap_unless_they_say_that_they_do_not():
    ledger = PrivacyLedger(groups=GROUPS).plus(
        *(
            RELEASE.model_copy(update={"on": name, "what": name})
            for name in ("everyone", "opted-in", "adults", "children")
        )
    )

    def touching(name):
        return {event.what for event in ledger.touching(name)}

    assert touching("everyone") == {"everyone"}
    assert touching("opted-in") == {"everyone", "opted-in", "adults", "children"}
    assert touching("adults") == {"everyone", "opted-in", "adults"}
    assert touching("children") == {"everyone", "opted-in", "children"}


@pytest.mark.parametrize(
    "groups",
    [{"a": Group(disjoint_from=("b",))}, {"a": Group(disjoint_from=("a",))}, {"a": Group(disjoint_from=("everyone",))}],
)
def test_nonsense_about_groups_is_refused(groups):
    with pytest.raises(ValueError, match="disjoint"):
        PrivacyLedger(groups=groups)


def test_a_budget_is_kept_or_the_ledger_is_refused():
    ledger = PrivacyLedger(groups=GROUPS).plus(GaussianRelease(noise_multiplier=4.0))
    must_be_within(ledger)
    must_be_within(ledger.plus(RELEASE.model_copy(update={"on": "everyone", "noise_multiplier": 50.0})))
    with pytest.raises(PolicyError, match="'opted-in' would have spent"):
        must_be_within(ledger.plus(RELEASE.model_copy(update={"on": "opted-in"})))


def test_the_figures_are_those_of_the_gaussian_mechanism():
    spent = spend(PrivacyLedger(events=(RELEASE,)), 1e-5)
    shift = 1 / 2.0  # the distance of the two Gaussians that a test has to tell apart, in deviations
    assert spent.advantage == pytest.approx(2 * norm.cdf(shift / 2) - 1, rel=1e-3)
    for rate, found in spent.found.items():
        exact = norm.cdf(norm.ppf(rate) + shift)
        assert exact <= found <= exact * 1.01
    odds = shift**2 / 2 + shift * norm.isf(1e-5)  # the loss is N(shift^2 / 2, shift^2)
    assert 1 / (1 + 2.718281828**-odds) <= spent.posterior <= 1 / (1 + 2.718281828 ** -(odds * 1.06))
    assert spent.lower <= spent.epsilon


def test_shares_sum_to_one_and_say_who_cost_most():
    spent = spend(PrivacyLedger(groups=GROUPS, events=EVENTS), 1e-5)
    assert sum(share.share for share in spent.shares) == pytest.approx(1)
    assert max(spent.shares, key=lambda share: share.share).event.kind == "accounted-search"
    assert len(spent.shares) == len(EVENTS) - 3
    assert spent.by == "rdp"
    assert spent.partial


def test_words_hold_the_figures_and_what_is_not_counted():
    text = "\n".join(explain_spend(spend(PrivacyLedger(events=(RELEASE, DeclaredSearch(settings=7))), 1e-5)))
    assert "(1.993, 1e-05)-differentially private" in text
    assert "19.7%" in text
    assert "Not counted" in text
    assert "7 settings" in text


@pytest.mark.parametrize(("budget", "code"), [(5.0, 0), (0.5, 1)])
def test_the_command_reports_and_its_exit_code_tells_of_budgets(tmp_path, monkeypatch, capsys, budget, code):
    groups = {"opted-in": Group(budget=Allowance(epsilon=budget, delta=1e-6))}
    path = tmp_path / "ledger.json"
    path.write_bytes(write_ledger(PrivacyLedger(groups=groups, events=(RELEASE, EVENTS[-1]))))
    monkeypatch.setattr(sys, "argv", ["redoubt", "privacy", "report", str(path)])
    assert run() == code
    said = capsys.readouterr().out
    assert ("kept" if code == 0 else "exceeded") in said
    monkeypatch.setattr(sys, "argv", ["redoubt", "privacy", "report", str(path), "--json", "--group", "opted-in"])
    assert run() == code
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["group"], told["delta"], told["kept"]) == ("opted-in", 1e-6, code == 0)
    assert [event["data"] for event in told["public"]] == ["fashion-mnist"]
    monkeypatch.setattr(sys, "argv", ["redoubt", "privacy", "report", str(path), "--group", "vip"])
    assert run() == 3
    assert "groups are everyone, opted-in" in capsys.readouterr().err
