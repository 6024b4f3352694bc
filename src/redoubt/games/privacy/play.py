"""The privacy game: tell, from what a training releases, which canaries were among its records.

The plan of one run (Steinke, Nasr and Jagielski 2023):

1. a fair coin decides for each canary whether it is in                   (judge)
2. the training runs once, on the records and those canaries              (whoever is audited)
3. the coins of half of the canaries are opened                           (judge)
4. the distinguisher, and how many to guess, are chosen on those          (adversary)
5. guesses about the others are counted                                   (judge)
6. what they say against the claim is bounded                             (judge)

Of many runs (Jagielski et al. 2020): the training runs often, with one canary and without; half of the runs are opened
to choose the test and its threshold, the others count.

Opening takes nothing from the guarantee: given the opened coins, the rest of the training is as private as before.
"""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Generator, Tensor

from redoubt.attacks.canary.distinguish import DISTINGUISHERS, Distinguisher
from redoubt.attacks.canary.plant import Canaries
from redoubt.games.measures import clopper_pearson
from redoubt.games.privacy import many_runs, one_run
from redoubt.games.privacy.judge import judge
from redoubt.games.privacy.many_runs import Told
from redoubt.games.privacy.tradeoff import Tradeoff
from redoubt.records import DataError, Fault, ModelError
from redoubt.records.privacy import Guesses, PrivacyAudit, PrivacyClaim

Training = Callable[[Tensor, Tensor], Tensor]
"""Trains on records `[N, *shape]` and labels `[N]`; gives a trace of each canary, `[m, S]`, of what it released.

It gets every canary's record beforehand, and never the coins."""

LEAST_CANARIES, LEAST_RUNS = 20, 40
_SHARES = (0.0, 0.05, 0.2, 0.5)
_TRIED = 40  # thresholds


def play_one_run(
    train: Training,
    x: Tensor,
    y: Tensor,
    canaries: Canaries,
    claim: PrivacyClaim,
    curve: Tradeoff,
    generator: Generator,
    level: float = 0.95,
    distinguishers: Mapping[str, Distinguisher] = DISTINGUISHERS,
) -> PrivacyAudit:
    """Audit with one training.

    Args:
        train: see `Training`.
        x: the other records, `[N, *shape]`.
        y: int64 `[N]`.
        canaries: at least `LEAST_CANARIES`.
        claim: what is to be refuted, at its delta.
        curve: all that is claimed, at every delta.
        generator: the coins, the order of the records, and what is opened.
        level: confidence.
        distinguishers: strategies.

    Raises:
        DataError: too few canaries.
        ModelError: the traces are not `[m, S]`, or not finite.
    """
    m = len(canaries)
    if m < LEAST_CANARIES:
        raise DataError(f"{m} canaries tell nothing", remedy=f"plant {LEAST_CANARIES} at least, better hundreds")
    coins = torch.randint(0, 2, (m,), generator=generator, dtype=torch.bool)
    records, labels = torch.cat([x, canaries.x[coins]]), torch.cat([y, canaries.y[coins]])
    order = torch.randperm(len(labels), generator=generator)
    traces = _sound(train(records[order], labels[order]), m)
    opened = torch.randperm(m, generator=generator) < m // 2
    tested = int((~opened).sum())
    scores = {name: _scored(of, traces) for name, of in distinguishers.items()}
    bound_by = _guess(scores, coins, opened, lambda _of, guesses, rights: clopper_pearson(rights, guesses).low)

    def unlikely(of: int, guesses: int, rights: int) -> float:
        return -one_run.chance_under_claim(of, guesses, rights, curve)

    claim_by = _guess(scores, coins, opened, unlikely)
    rights, guesses = _counts(bound_by)
    bound = one_run.epsilon_bound(tested, guesses, rights, claim.delta, 1 - (1 - level) / 2)
    rights, guesses = _counts(claim_by)
    chance = one_run.chance_under_claim(tested, guesses, rights, curve)
    verdict, reason = judge(claim, bound, chance, level)
    return PrivacyAudit(
        method="one-run",
        kind=canaries.kind,
        canaries=m,
        runs=1,
        tested=tested,
        claim=claim,
        level=level,
        epsilon_lower_bound=bound,
        bound_by=bound_by,
        claim_chance=chance,
        claim_by=claim_by,
        verdict=verdict,
        reason=reason,
    )


def play_many_runs(
    train: Training,
    x: Tensor,
    y: Tensor,
    canary: Canaries,
    runs: int,
    claim: PrivacyClaim,
    curve: Tradeoff,
    generator: Generator,
    level: float = 0.95,
    distinguishers: Mapping[str, Distinguisher] = DISTINGUISHERS,
) -> PrivacyAudit:
    """Audit with `runs` trainings, half of them with the canary.  Arguments and errors as in `play_one_run`.

    No lower bound can be told above about `log(runs / 16)`.

    Raises:
        DataError: more than one canary, or fewer than `LEAST_RUNS` runs.
        ModelError: as in `play_one_run`.
    """
    if len(canary) != 1 or runs < LEAST_RUNS:
        raise DataError(
            f"{len(canary)} canaries in {runs} runs", remedy=f"plant one, and run {LEAST_RUNS} times at least"
        )
    inside = torch.randperm(runs, generator=generator) < runs // 2
    rows = []
    for with_it in inside.tolist():
        records, labels = (torch.cat([x, canary.x]), torch.cat([y, canary.y])) if with_it else (x, y)
        order = torch.randperm(len(labels), generator=generator)
        rows.append(_sound(train(records[order], labels[order]), 1))
    if len({row.shape for row in rows}) != 1:
        raise ModelError("trainings released traces of different lengths", remedy="take the same number of steps")
    opened = torch.zeros(runs, dtype=torch.bool)
    for world in (inside, ~inside):
        members = world.nonzero().flatten()
        opened[members[: len(members) // 2]] = True
    each = 1 - (1 - level) / 2

    def by_bound(told: Told) -> float:
        return many_runs.epsilon_bound(told, claim.delta, each)

    def by_claim(told: Told) -> float:
        found, alarms = told.rates(each)
        return found - curve.most_found(alarms)

    # One run at a time: runs are to stay independent of each other.
    scores = {name: torch.cat([_scored(of, row) for row in rows]) for name, of in distinguishers.items()}
    bound_by, bound_told = _threshold(scores, inside, opened, by_bound)
    claim_by, claim_told = _threshold(scores, inside, opened, by_claim)
    bound, chance = by_bound(bound_told), many_runs.chance_under_claim(claim_told, curve)
    verdict, reason = judge(claim, bound, chance, level)
    return PrivacyAudit(
        method="many-runs",
        kind=canary.kind,
        canaries=1,
        runs=runs,
        tested=int((~opened).sum()),
        claim=claim,
        level=level,
        epsilon_lower_bound=bound,
        bound_by=bound_by,
        gaussian_epsilon=many_runs.gaussian_bound(bound_told, claim.delta, each),
        claim_chance=chance,
        claim_by=claim_by,
        verdict=verdict,
        reason=reason,
    )


# ── the adversary: chooses on what is opened ─────────────────────────────────────────────────────────────────────


def _guess(
    scores: Mapping[str, Tensor], coins: Tensor, opened: Tensor, worth: Callable[[int, int, int], float]
) -> Guesses:
    """The best test on the opened canaries, by its worth of (canaries, guesses, right guesses), tried on the others."""
    of, rest = int(opened.sum()), int((~opened).sum())
    best: tuple[float, int] | None = None
    chosen = ("", 0, 0)
    for name, score in scores.items():
        sorted_coins = coins[opened][score[opened].argsort(descending=True)]
        for high, low in _split(of):
            right = int(sorted_coins[:high].sum()) + int((~sorted_coins[of - low :]).sum())
            rank = (worth(of, high + low, right), right)
            if best is None or rank > best:
                best, chosen = rank, (name, high, low)
    name, high, low = chosen
    high, low = round(high * rest / of), min(round(low * rest / of), rest - round(high * rest / of))
    sorted_coins = coins[~opened][scores[name][~opened].argsort(descending=True)]
    return Guesses(
        distinguisher=name,
        positives=high,
        right_positives=int(sorted_coins[:high].sum()),
        negatives=low,
        right_negatives=int((~sorted_coins[rest - low :]).sum()),
    )


def _split(of: int) -> Iterator[tuple[int, int]]:
    """Numbers of guesses "it was there" and "it was not"."""
    for high in _SHARES:
        for low in _SHARES:
            pair = round(high * of), round(low * of)
            if 0 < sum(pair) <= of:
                yield pair


def _threshold(
    scores: Mapping[str, Tensor], inside: Tensor, opened: Tensor, worth: Callable[[Told], float]
) -> tuple[Guesses, Told]:
    """The best score and threshold on the opened runs, and what they say of the others."""
    best, chosen = None, ("", 0.0)
    for name, score in scores.items():
        seen = score[opened].sort().values
        between = (seen[1:] + seen[:-1]) / 2
        for at in between[:: max(1, len(between) // _TRIED)].tolist():
            told = _told(score, at, inside, opened)
            rank = (worth(told), told.found - told.alarms)
            if best is None or rank > best:
                best, chosen = rank, (name, at)
    name, at = chosen
    told = _told(scores[name], at, inside, ~opened)
    return Guesses(
        distinguisher=name,
        positives=told.members,
        right_positives=told.found,
        negatives=told.others,
        right_negatives=told.others - told.alarms,
    ), told


def _told(score: Tensor, threshold: float, inside: Tensor, among: Tensor) -> Told:
    says = score > threshold
    return Told(
        found=int((says & inside & among).sum()),
        members=int((inside & among).sum()),
        alarms=int((says & ~inside & among).sum()),
        others=int((~inside & among).sum()),
    )


# ── the judge: trusts no numbers of theirs ───────────────────────────────────────────────────────────────────────


def _counts(guesses: Guesses) -> tuple[int, int]:
    return guesses.right_positives + guesses.right_negatives, guesses.positives + guesses.negatives


def _sound(traces: Tensor, m: int) -> Tensor:
    if traces.ndim != 2 or len(traces) != m or not traces.shape[1]:
        raise ModelError(f"traces are {list(traces.shape)}, not [{m}, steps]", remedy="give one row for each canary")
    if not bool(traces.isfinite().all()):
        raise ModelError("a trace is not finite: the training diverged", remedy="audit with a lower learning rate")
    return traces.detach().double()


def _scored(distinguisher: Distinguisher, traces: Tensor) -> Tensor:
    score = distinguisher(traces)
    if score.shape != (len(traces),):
        raise Fault(f"scores are {list(score.shape)} of {len(traces)} canaries", remedy="please report this")
    return score.nan_to_num(0.0)
