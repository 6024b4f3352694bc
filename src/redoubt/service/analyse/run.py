"""One pass over a log for all analysers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from redoubt.records import LedgerError, LogEntry
from redoubt.service.analyse.base import Analyser, Report, Row, Suspicion
from redoubt.service.analyse.memory.sample import Sample
from redoubt.service.log import LogReader, parse_entry

_AT_ONCE = 256  # entries; a bundle of the log
_MOST_POLICIES = 256


@dataclass(frozen=True)
class Analysed:
    """What all analysers say of a log.

    Attributes:
        entries: in the log's checkpoint.
        decisions: of them.
        unreadable: entries that are none of a guard; None if all are.
        policies: how many decisions were made under each policy text, by digest; at most a few hundred.
        reports: of each analyser, with proofs.
    """

    entries: int
    decisions: int
    unreadable: Suspicion | None
    policies: dict[str, int]
    reports: tuple[Report, ...]

    @property
    def suspicious(self) -> bool:
        """Whether anything was found."""
        return self.unreadable is not None or any(report.suspicions for report in self.reports)

    @property
    def unable(self) -> bool:
        """Whether an analyser could not look."""
        return any(report.unable for report in self.reports)


def analyse(reader: LogReader, analysers: Sequence[Analyser], seen: Callable[[int], None] = lambda _: None) -> Analysed:
    """Read a log once, in order, and let each analyser judge it.

    Args:
        reader: of the log; each entry is checked against its leaf as it is read.
        analysers: fresh ones.
        seen: told how many entries were read, now and then.

    Raises:
        LedgerError: an entry was changed, or files are missing.
        StorageError: the disk refuses.
    """
    unreadable, decisions = Sample(), 0
    policies: dict[str, int] = {}
    for start in range(0, reader.size, _AT_ONCE):
        stop = min(start + _AT_ONCE, reader.size)
        rows = []
        for index, entry in _parsed(reader, start, stop, unreadable):
            if entry.kind == "decision":
                rows.append(Row(index, entry))
                policy = entry.policy or ""
                if policy in policies or len(policies) < _MOST_POLICIES:
                    policies[policy] = policies.get(policy, 0) + 1
        decisions += len(rows)
        for analyser in analysers:
            analyser.see(rows)
        seen(stop)
    return Analysed(
        reader.size,
        decisions,
        _proved(reader, _unreadable(unreadable)) if unreadable.of else None,
        policies,
        tuple(_with_proofs(reader, analyser.end()) for analyser in analysers),
    )


def _parsed(reader: LogReader, start: int, stop: int, unreadable: Sample) -> Iterator[tuple[int, LogEntry]]:
    for index, raw in enumerate(reader.entries(start, stop), start):
        try:
            yield index, parse_entry(raw)
        except LedgerError:  # one such entry must not hide the others
            unreadable.add(index)


def _unreadable(sample: Sample) -> Suspicion:
    why = f"{sample.of} entries are none that a guard writes: somebody else had the log's key, or wrote to the log"
    return Suspicion((), why, {"entries": sample.of}, sample.entries, sample.of)


def _with_proofs(reader: LogReader, report: Report) -> Report:
    return replace(report, suspicions=tuple(_proved(reader, suspicion) for suspicion in report.suspicions))


def _proved(reader: LogReader, suspicion: Suspicion) -> Suspicion:
    proofs = tuple(bytes(reader.proof(index)).decode() for index in suspicion.entries)
    return replace(suspicion, proofs=proofs)
