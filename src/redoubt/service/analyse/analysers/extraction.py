"""Extraction: accounts whose queries explore the model, rather than come from its use."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from redoubt.service.analyse.base import Analyser, Report, Row, Suspicion
from redoubt.service.analyse.honest import BLOCK, HonestCustomers, above, above_others
from redoubt.service.analyse.memory.accounts import Accounts
from redoubt.service.analyse.memory.history import LOW, Asking, History
from redoubt.service.analyse.memory.sample import Sample
from redoubt.service.analyse.reference import Reference
from redoubt.service.analyse.statistics.significance import at_least, holm

_MOST_ACCOUNTS = 1000
_MOST_HISTORIES = 20_000
_MOST_BYTES = 128 << 20  # of inputs that wait
_FEWEST_ACCOUNTS = 8  # others that one account can be compared with, when there is no reference
_MOST_BLOCKS = 8  # that are played; a mean over more varies less than is taken for granted
_PLAYERS, _FEW_PLAYERS = 60, 6
_PLAINLY_USUAL = 0.9  # times the usual share of repeated hashes
_ALIKE_AMONG_OTHERS = 0.005  # chance of a query alike to an earlier one, when there is no reference

# What is worth a word, besides being no chance:
_MOST_REPEATED = 2 / 3  # of the usual share of repeated hashes
_LEAST_ALIKE = 0.02  # of the queries
_LEAST_LOW = 0.15  # of the queries, where 0.05 is usual
_LEAST_ABNORMAL = 2.0  # times the usual 1 - W


@dataclass(frozen=True)
class _Test:
    """What one test says of an account.

    Attributes:
        history: the account's.
        p: probability of as much from an honest one.
        why: in words; empty when it is too little to matter.
        figures: by name.
        sample: the entries that it rests on.
    """

    history: History
    p: float
    why: str
    figures: Mapping[str, float]
    sample: Sample


class _Look(NamedTuple):
    """Coverage, the usual one, over what, and the probability of as much from an honest account."""

    p: float
    over: str
    share: float
    usual: float


class Extraction(Analyser):
    """Four tests of each account's different queries, by what the log keeps.

    - *Coverage* (fingerprints): natural inputs have windows in common, random, blended or foreign ones have fewer, so
      that the hashes an account has asked about grow faster with its queries.
    - *Alike* (fingerprints): queries that share half of their hashes with one of the account's latest 100, as data
      made by small steps from seeds do (Papernot et al. 2017).
    - *Distances* (inputs): whether distances between queries of one label are as normal as natural ones (Juuti et al.
      2019).
    - *Credibility* (signals): more queries that the training data do not support than the 5 % below 0.05 that
      conformal prediction promises.

    Coverage and distances are compared with honest accounts of the same labels, played with the policy's test data.
    Without a policy, coverage is compared with that of the other accounts in the log, and distances are not judged.
    All tests of all accounts are corrected together by Holm.

    Args:
        reference: None if no policy was given.
        level: probability of any false suspicion in a log of honest accounts.
    """

    name = "extraction"
    says = "accounts whose queries explore the model rather than use it"
    needs = "a digest and a fingerprint, input or credibility"
    not_covered = (
        "An attacker with inputs of the customers' own kind, who asks like an honest heavy user; one who hides few "
        "made-up queries among many natural ones; accounts that ask fewer than 100 different inputs, so also "
        "extraction spread over many. Noisy or foreign inputs sent in good faith, frames of a camera, and searches for "
        "adversarial examples look like this as well."
    )

    def __init__(self, reference: Reference | None, level: float = 0.01) -> None:
        super().__init__()
        self._reference, self._level = reference, level
        self._alike = reference.alike if reference else 0.5
        self._accounts: Accounts[Asking] = Accounts(
            _MOST_ACCOUNTS, lambda account: Asking(account, self._alike), self._close
        )
        self._histories: list[History] = []
        self._few = 0
        self._unjudged = 0
        self._left_out = 0
        self._incomparable = 0
        self._held = 0

    def see(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if row.account is None or row.entry.row is None:
                continue
            if row.digest is None or (row.hashes is None and row.x is None and not _credible(row)):
                self._passed += 1
                continue
            self._looked += 1
            asking = self._accounts.of(row.account)
            room = row.x is None or self._held + row.x.nbytes <= _MOST_BYTES
            self._left_out += not room
            self._held -= asking.held
            asking.take(row, row.digest, inputs=room)
            self._held += asking.held

    def end(self) -> Report:
        self._accounts.close_all()
        if self._looked and not self._histories:
            return self._report(unable=f"no account asked {BLOCK} different inputs")
        honest = HonestCustomers(self._reference.honest, self._alike) if self._reference and self._histories else None
        tests = [test for history in self._histories for test in self._tests(history, honest)]
        reasons: dict[int, list[tuple[float, _Test]]] = {}
        for p, test in zip(holm([test.p for test in tests]), tests, strict=True):
            if p <= self._level and test.why:
                reasons.setdefault(id(test.history), []).append((p, test))
        found = sorted((_suspicion(some) for some in reasons.values()), key=lambda suspicion: suspicion.figures["p"])
        return self._report(found, self._notes(honest is not None, len(tests)))

    def _close(self, asking: Asking) -> None:
        self._held -= asking.held
        if asking.history.queries < BLOCK:
            self._few += 1
        elif len(self._histories) >= _MOST_HISTORIES:
            self._unjudged += 1
        else:
            self._histories.append(asking.history)

    def _tests(self, history: History, honest: HonestCustomers | None) -> list[_Test]:
        tests = []
        if (test := self._coverage(history, honest)) is not None:
            tests.append(test)
        elif history.of_blocks:
            self._incomparable += 1
        if history.prints >= BLOCK:
            tests.append(_alike(history, honest.alike if honest else _ALIKE_AMONG_OTHERS))
        if history.judged >= BLOCK:
            tests.append(_credibility(history))
        if honest and (test := _distances(history, honest)) is not None:
            tests.append(test)
        return tests

    def _coverage(self, history: History, honest: HonestCustomers | None) -> _Test | None:
        """Coverage of all queries, as many as there is something to compare with, and within blocks of 100."""
        looks = [*self._growth(history, honest), *self._blocks(history, honest)]
        if not looks:
            return None
        worth = [look for look in looks if 1 - look.share <= _MOST_REPEATED * (1 - look.usual)]
        look = min(worth or looks, key=lambda one: one.p)
        why = (
            f"{look.over} {1 - look.share:.1%} of the hashes of its fingerprints had come before, where "
            f"{'with honest queries of these labels' if honest else 'with the other accounts'} {1 - look.usual:.1%} had"
        )
        figures = {"coverage": look.share, "usual_coverage": look.usual}
        return _Test(history, min(1.0, look.p * len(looks)), why if worth else "", figures, history.all)

    def _growth(self, history: History, honest: HonestCustomers | None) -> list[_Look]:
        for n in sorted(history.curve, reverse=True):
            share, over = history.curve[n].coverage, f"over {n} different queries"
            if honest:
                found = _against(partial(honest.coverage, history.curve[n].labels), over, share)
            else:
                others = (other.curve[n].coverage for other in self._others(history) if n in other.curve)
                found = _among(others, over, share)
            if found:
                return found
        return []

    def _blocks(self, history: History, honest: HonestCustomers | None) -> list[_Look]:
        if not history.of_blocks:
            return []
        share, over = history.blocks / history.of_blocks, f"within {BLOCK} different queries"
        if honest:
            blocks = min(history.of_blocks, _MOST_BLOCKS)
            return _against(partial(honest.block_coverage, history.labels, blocks), over, share)
        others = (other.blocks / other.of_blocks for other in self._others(history) if other.of_blocks)
        return _among(others, over, share)

    def _others(self, history: History) -> Iterator[History]:
        return (other for other in self._histories if other is not history)

    def _notes(self, honest: bool, tests: int) -> list[str]:
        notes = [
            f"{len(self._histories)} accounts with {BLOCK} different queries or more; {tests} tests, together false "
            f"with probability {self._level:g}."
        ]
        if self._few:
            notes.append(f"{self._few} accounts asked fewer and were not judged.")
        if self._unjudged:
            notes.append(f"{self._unjudged} accounts were not judged: {_MOST_HISTORIES} are held at most.")
        if not honest:
            notes.append(
                f"Coverage is compared with the other accounts in the log, where at least {_FEWEST_ACCOUNTS} asked as "
                "much, and distances between inputs are not judged. A customer of few classes may be accused falsely: "
                "--policy compares with honest customers of the same labels."
            )
        if self._incomparable:
            lacking = "the test data hold too few of their labels" if honest else "too few others asked as much"
            notes.append(f"The coverage of {self._incomparable} accounts was not judged: {lacking}.")
        if self._left_out:
            notes.append(f"{self._left_out} inputs were left out of the distances, as memory is bounded.")
        return notes


def _credible(row: Row) -> bool:
    return (row.entry.signals or {}).get("credibility") is not None


def _alike(history: History, chance: float) -> _Test:
    share = history.alike.of / history.prints
    why = (
        f"{share:.1%} of its queries are alike to one of its latest {BLOCK}, where at most {chance:.1%} of honest "
        "ones are"
    )
    p = at_least(history.alike.of, history.prints, chance)
    return _Test(history, p, why if share >= _LEAST_ALIKE else "", {"alike": share}, history.alike)


def _credibility(history: History) -> _Test:
    share = history.low.of / history.judged
    why = f"{share:.1%} of its queries have a credibility below {LOW}, where {LOW:.0%} of honest ones have"
    p = at_least(history.low.of, history.judged, LOW)
    return _Test(history, p, why if share >= _LEAST_LOW else "", {"low_credibility": share}, history.low)


def _against(play: Callable[[int], NDArray[np.float64] | None], over: str, share: float) -> list[_Look]:
    """Coverage against that of played accounts; nothing if there is nothing to play with."""
    few = play(_FEW_PLAYERS)
    if few is None:
        return []
    if 1 - share > _PLAINLY_USUAL * (1 - few.mean()):  # not worth a word in any case
        return [_Look(1.0, over, share, float(few.mean()))]
    usual = play(_PLAYERS)
    return [] if usual is None else [_Look(above(usual, share), over, share, float(usual.mean()))]


def _among(others: Iterator[float], over: str, share: float) -> list[_Look]:
    """Coverage against that of the other accounts, or of so many; nothing if they are few."""
    usual = np.fromiter(islice(others, _MOST_ACCOUNTS), dtype=np.float64)
    if len(usual) < _FEWEST_ACCOUNTS:
        return []
    return [_Look(above_others(usual, share), over, share, float(np.median(usual)))]


def _distances(history: History, honest: HonestCustomers) -> _Test | None:
    if not history.abnormal:
        return None
    score, windows = float(np.mean(history.abnormal)), len(history.abnormal)
    usual = honest.abnormality(history.input_labels, windows, _FEW_PLAYERS)
    if usual is None:
        return None
    if score < usual.mean() + np.log(_LEAST_ABNORMAL) / 2:  # not worth a word in any case
        return _Test(history, 1.0, "", {}, history.all)
    usual = honest.abnormality(history.input_labels, windows, _PLAYERS)
    if usual is None:
        return None
    w, usual_w = 1 - float(np.exp(score)), 1 - float(np.exp(usual.mean()))
    why = (
        f"the distances between its queries of one label are far from normal (Shapiro and Wilk's W = {w:.2f}, where "
        f"with honest queries of these labels it is {usual_w:.2f})"
    )
    if 1 - w < _LEAST_ABNORMAL * (1 - usual_w):
        why = ""
    return _Test(history, above(usual, score), why, {"w": w, "usual_w": usual_w}, history.all)


def _suspicion(reasons: Sequence[tuple[float, _Test]]) -> Suspicion:
    """All reasons to suspect one account, the strongest first."""
    ordered = sorted(reasons, key=lambda reason: reason[0])
    p, strongest = ordered[0]
    history = strongest.history
    counts = np.array(list((history.labels or history.input_labels).values()), dtype=np.float64)
    shares = counts / counts.sum() if len(counts) else np.ones(1)
    spread = float(np.exp(-(shares * np.log(shares)).sum()))
    figures: dict[str, float] = {"p": p, "queries": history.queries, "classes": spread}
    for _, test in ordered:
        figures |= test.figures
    why = "; ".join(test.why for _, test in ordered)
    why = f"{history.queries} different queries, spread as over {spread:.1f} classes: {why} (p = {p:.1e})"
    return Suspicion((history.account,), why, figures, strongest.sample.entries, strongest.sample.of)
