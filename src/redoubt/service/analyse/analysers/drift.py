"""Drift: labels, actions and signals that do not come from the distribution that they came from at first."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from redoubt.records import SIGNALS
from redoubt.service.analyse.base import Analyser, Report, Row, Suspicion
from redoubt.service.analyse.memory.sample import Sample
from redoubt.service.analyse.statistics.significance import FEWEST_ACCOUNTS, Shift, counts_shift, holm, values_shift

_MOST_LABELS = 1000  # an entry's label is any number: those beyond count as one
_FEWEST_VALUES = 50


@dataclass
class _Window:
    """Decisions that follow each other: in parallel, what each was about."""

    rows: list[int] = field(default_factory=list)
    accounts: list[int] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    cells: dict[str, list[str | None]] = field(default_factory=lambda: {"labels": [], "actions": []})
    signals: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SIGNALS})


@dataclass(frozen=True)
class _Tested:
    """One measure of one window against the first."""

    measure: str
    number: int
    shift: Shift
    says: str
    sample: Sample
    span: tuple[int, int]


class Drift(Analyser):
    """Windows of equally many decisions, each against the first.

    Labels and actions are compared by Pearson's chi-squared, signals by Kolmogorov and Smirnov, both corrected for
    entries of one account being alike, and all together by Holm.  Besides being significant, a shift must be large
    enough to matter: with enough entries, any two months differ.

    Args:
        window: decisions in a window.
        level: probability of any false suspicion in a log without drift.
        effect: the least total variation distance, or Kolmogorov's D, that matters.
    """

    name = "drift"
    says = "labels, actions and signals that are no longer distributed as in the first window"
    needs = "a label, action or signal"
    not_covered = (
        "A drift that is in the first window already; one that changes which inputs come but none of labels, actions "
        "and signals; one so slow or short that no window shifts by as much as is asked.  It does not tell an attack "
        "from a change of customers, season or camera."
    )

    def __init__(self, window: int = 1000, level: float = 0.01, effect: float = 0.1) -> None:
        super().__init__()
        self._size, self._level, self._effect = window, level, effect
        self._first: _Window | None = None
        self._open = _Window()
        self._names: dict[str | None, int] = {}  # of accounts, in the open window
        self._labels: set[int] = set()
        self._closed = 0
        self._tests = 0
        self._unclustered = 0
        self._shifted: list[_Tested] = []

    def see(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._looked += 1
            self._add(row)
            if len(self._open.rows) == self._size:
                self._close()

    def end(self) -> Report:
        if len(self._open.rows) >= self._size // 2:
            self._close()
        if self._closed < 2:
            return self._report(
                unable=f"{self._looked} decisions are too few: {self._size * 3 // 2} make a first window and another"
            )
        corrected = holm([tested.shift.p for tested in self._shifted], self._tests)
        shifted = [(t, p) for t, p in zip(self._shifted, corrected, strict=True) if p <= self._level]
        runs: list[list[tuple[_Tested, float]]] = []
        for tested, p in sorted(shifted, key=lambda pair: (pair[0].measure, pair[0].number)):
            last = runs[-1][-1][0] if runs else None
            if last and (last.measure, last.number + 1) == (tested.measure, tested.number):
                runs[-1].append((tested, p))
            else:
                runs.append([(tested, p)])
        found = sorted(map(_suspicion, runs), key=lambda suspicion: -suspicion.figures["effect"])
        notes = [
            f"{self._closed - 1} windows of {self._size} decisions against the first; {self._tests} tests, "
            f"together false with probability {self._level:g}; shifts of less than {self._effect:g} are passed over."
        ]
        if self._unclustered:
            notes.append(
                f"{self._unclustered} tests had fewer than {FEWEST_ACCOUNTS} accounts on a side and take entries for "
                "independent: there, a change of customers shows as drift."
            )
        return self._report(found, notes)

    def _add(self, row: Row) -> None:
        entry, window = row.entry, self._open
        window.rows.append(row.index)
        window.accounts.append(self._names.setdefault(row.account, len(self._names)))
        window.at.append(entry.at)
        window.cells["labels"].append(self._label(entry.label))
        window.cells["actions"].append(entry.action.value if entry.action else None)
        signals = entry.signals or {}
        for name, values in window.signals.items():
            value = signals.get(name)
            values.append(np.nan if value is None else value)

    def _label(self, label: int | None) -> str | None:
        if label is None:
            return None
        if label not in self._labels and len(self._labels) >= _MOST_LABELS:
            return "any other"
        self._labels.add(label)
        return str(label)

    def _close(self) -> None:
        window, self._open, self._names = self._open, _Window(), {}
        self._closed += 1
        if self._first is None:
            self._first = window
            return
        for measure in window.cells:
            self._keep(_cells_tested(self._first, window, measure, self._closed))
        for name in window.signals:
            self._keep(_values_tested(self._first, window, name, self._closed))

    def _keep(self, tested: _Tested | None) -> None:
        if tested is None:
            return
        self._tests += 1
        self._unclustered += not tested.shift.clustered
        if tested.shift.effect >= self._effect and tested.shift.p <= self._level:
            self._shifted.append(tested)


def _cells_tested(first: _Window, window: _Window, measure: str, number: int) -> _Tested | None:
    before, after = first.cells[measure], window.cells[measure]
    names = sorted({cell for cell in (*before, *after) if cell is not None})
    if len(names) < 2 or not any(before) or not any(after):
        return None
    place = {name: at for at, name in enumerate(names)}
    tables = [_table(before, first.accounts, place), _table(after, window.accounts, place)]
    shares = [table.sum(0) / table.sum() for table in tables]
    most = int(np.abs(shares[1] - shares[0]).argmax())
    rose = bool(shares[1][most] >= shares[0][most])
    says = f"the share of {measure[:-1]} {names[most]} went from {shares[0][most]:.1%} to {shares[1][most]:.1%}"
    # what shows that a share fell is everything else
    rows = [row for row, cell in zip(window.rows, after, strict=True) if cell and (cell == names[most]) == rose]
    return _Tested(measure, number, counts_shift(*tables), says, _sample(rows), (window.at[0], window.at[-1]))


def _table(cells: Sequence[str | None], accounts: Sequence[int], place: dict[str, int]) -> NDArray[np.int64]:
    """Counts `[accounts, K]`, for those accounts that have any."""
    table = np.zeros((max(accounts) + 1, len(place)), dtype=np.int64)
    for cell, account in zip(cells, accounts, strict=True):
        if cell is not None:
            table[account, place[cell]] += 1
    return np.asarray(table[table.sum(1) > 0])


def _values_tested(first: _Window, window: _Window, name: str, number: int) -> _Tested | None:
    before, after = np.array(first.signals[name]), np.array(window.signals[name])
    known, known_now = ~np.isnan(before), ~np.isnan(after)
    if min(known.sum(), known_now.sum()) < _FEWEST_VALUES:
        return None
    before, after = before[known], after[known_now]
    accounts = np.array(first.accounts)[known], np.array(window.accounts)[known_now]
    shift = values_shift(before, after, *accounts)
    medians = float(np.median(before)), float(np.median(after))
    says = f"the median of {name} went from {medians[0]:.3g} to {medians[1]:.3g}"
    rows = np.array(window.rows)[known_now]
    outer = after <= np.quantile(before, 0.1) if medians[1] < medians[0] else after >= np.quantile(before, 0.9)
    return _Tested(name, number, shift, says, _sample(rows[outer].tolist()), (window.at[0], window.at[-1]))


def _sample(rows: Sequence[int]) -> Sample:
    sample = Sample()
    for row in rows:
        sample.add(row)
    return sample


def _suspicion(run: Sequence[tuple[_Tested, float]]) -> Suspicion:
    """One for windows that follow each other, in the words of the one that shifted most."""
    most, _ = max(run, key=lambda pair: pair[0].shift.effect)
    sample = Sample()
    for tested, _ in run:
        sample.merge(tested.sample)
    first, last = run[0][0], run[-1][0]
    windows = f"window {first.number}" if len(run) == 1 else f"windows {first.number} to {last.number}"
    p = min(p for _, p in run)
    why = (
        f"{most.measure} in {windows} ({_time(first.span[0])} to {_time(last.span[1])}) are not those of window 1: "
        f"{most.says} (distance {most.shift.effect:.2f}, p = {p:.1e})"
    )
    figures = {"effect": most.shift.effect, "p": p, "first_window": first.number, "last_window": last.number}
    return Suspicion((), why, figures, sample.entries, sample.of)


def _time(at: int) -> str:
    try:
        return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, OSError, ValueError):  # a log may say anything
        return f"{at} ms"
