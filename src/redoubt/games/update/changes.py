"""From counts to measures with intervals, and where each stands to its bound."""

from collections.abc import Iterator, Mapping

from redoubt.games.measures import clopper_pearson
from redoubt.games.update.intervals import mean_interval, paired_interval
from redoubt.records import BatchCounts, Change, Compared, Range, Update
from redoubt.records.update_evidence import Stand

_LEVEL = 0.95


def changes_of(compared: tuple[Compared, ...], batch: BatchCounts | None, update: Update) -> tuple[Change, ...]:
    """Every measure of every comparison, with its interval and its stand.

    A bound holds, or is broken, with the whole interval.  Against the anchor, each bound is `update.total` times as
    wide.  Past queries that are too few for a bound to hold, whatever they said, cannot keep a candidate from being
    accepted, for a new service has none; they can still break the bound.
    """
    bounds = {bound.measure: bound.value for bound in update.bounds}
    found = [change for counts in compared for change in _measured(counts)]
    if batch is not None:
        found.append(
            Change(
                measure="contradicted",
                among="batch",
                against="current",
                trials=batch.rows,
                value=batch.contradicted / batch.rows,
                interval=_share(batch.contradicted, batch.rows),
            )
        )
    return tuple(_bounded(change, bounds, update.total) for change in found)


def _bounded(change: Change, bounds: Mapping[str, float], total: float | None) -> Change:
    bound = bounds.get(change.measure)
    if bound is None or (change.against == "anchor" and total is None):
        return change
    allowed = min(bound * (total or 1.0), 1.0) if change.against == "anchor" else bound
    return change.model_copy(update={"bound": allowed, "stand": _stand(change, allowed)})


def _stand(change: Change, allowed: float) -> Stand:
    if change.interval.high <= allowed:
        return "holds"
    if change.interval.low > allowed:
        return "broken"
    if change.among == "queries" and _least_high(change.measure, change.trials) > allowed:
        return "too few"
    return "open"


def _least_high(measure: str, trials: int) -> float:
    """The upper end of the interval if nothing at all had changed."""
    if measure == "output_drift":
        return mean_interval(0.0, 0.0, trials).high
    if measure == "share_shift":
        return paired_interval(0, 0, trials).high
    return _share(0, trials).high


def _measured(counts: Compared) -> Iterator[Change]:
    if counts.against == "stored":
        yield _proportion(counts, "stored_changes", counts.changed)
        return
    lost, won = (sum(getattr(each, name) for each in counts.classes) for name in ("lost", "won"))
    if counts.truth:
        yield Change(
            measure="accuracy_drop",
            among=counts.among,
            against=counts.against,
            trials=counts.rows,
            value=(lost - won) / counts.rows,
            interval=paired_interval(lost, won, counts.rows, _LEVEL),
        )
    yield _proportion(counts, "disagreement", counts.changed)
    if counts.truth:
        yield _proportion(counts, "negative_flips", lost)
        yield _class_shift(counts)
    yield _share_shift(counts)
    if counts.drift is not None and counts.drift_variance is not None:
        yield Change(
            measure="output_drift",
            among=counts.among,
            against=counts.against,
            trials=counts.rows,
            value=counts.drift,
            interval=mean_interval(counts.drift, counts.drift_variance, counts.rows, _LEVEL),
        )


def _proportion(counts: Compared, measure: str, successes: int) -> Change:
    return Change(
        measure=measure,
        among=counts.among,
        against=counts.against,
        trials=counts.rows,
        value=successes / counts.rows,
        interval=_share(successes, counts.rows),
    )


def _share(successes: int, trials: int) -> Range:
    exact = clopper_pearson(successes, trials, _LEVEL)
    return Range(low=exact.low, high=exact.high, level=_LEVEL)


def _class_shift(counts: Compared) -> Change:
    """The greatest drop of accuracy within a class: intervals of all classes together (Bonferroni)."""
    there = {label: each for label, each in enumerate(counts.classes) if each.rows}
    each_level = 1 - (1 - _LEVEL) / max(len(there), 1)
    drops = {label: (each.lost - each.won) / each.rows for label, each in there.items()}
    ranges = [paired_interval(each.lost, each.won, each.rows, each_level) for each in there.values()]
    worst = max(drops, key=lambda label: drops[label])
    return Change(
        measure="class_shift",
        among=counts.among,
        against=counts.against,
        trials=counts.rows,
        value=drops[worst],
        interval=Range(low=max(r.low for r in ranges), high=max(r.high for r in ranges), level=_LEVEL),
        label=worst,
    )


def _share_shift(counts: Compared) -> Change:
    """The greatest change of the share of inputs given one class: intervals of all classes together (Bonferroni)."""
    each_level = 1 - (1 - _LEVEL) / len(counts.classes)
    moved = [abs(each.left - each.came) / counts.rows for each in counts.classes]
    ranges = [paired_interval(each.left, each.came, counts.rows, each_level) for each in counts.classes]
    worst = max(range(len(moved)), key=lambda label: moved[label])
    return Change(
        measure="share_shift",
        among=counts.among,
        against=counts.against,
        trials=counts.rows,
        value=moved[worst],
        interval=Range(
            low=max(max(r.low, -r.high, 0.0) for r in ranges),
            high=max(max(abs(r.low), abs(r.high)) for r in ranges),
            level=_LEVEL,
        ),
        label=worst,
    )
