"""Signs that failed attacks say little (Carlini et al. 2019, sections 4 and 5; Pintor et al. 2022).

Each is a question to the rounds that were played; its threshold stands beside it.  They look at the examples still
standing, since only there does a failed attack count for anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from redoubt.assess.chains import Done
from redoubt.assess.doubts import MISLED_SHARE, Doubts
from redoubt.perturb import NormBall, PerturbationSet
from redoubt.records import Access, Found, Measured, Sign, SignName

VANISHED_SHARE = 0.05  # of the standing examples, whose gradient was zero in most steps of every gradient strategy
NAN_SHARE = 0.05  # of the attacked examples, whose gradient was not finite at least once
FLAT_SHARE = 0.10  # of the standing examples, whose loss never rose in any gradient strategy
FLAT_GROWTH = 1e-4  # relative growth of a loss that counts as none
BLACK_BOX_SHARE = 0.01  # of the examples attacked with gradients, fooled afterwards without
UNBOUNDED_SHARE = 0.10  # of all examples, still standing when every input is allowed
NOT_MONOTONE = 0.03  # by how much robust accuracy may rise with the radius by chance
PROBE_SHARE = 0.02  # of the examples of the curve, fooled by the quick probe in the set itself but not in the game
RISING_SHARE = 0.5  # of the standing examples, whose loss was still rising when every gradient strategy ended
LATE = 0.1  # of a strategy's steps: the last, in which a loss that has converged does not rise any more
REFUSED_SHARE = 0.05  # of the standing examples, refused on the way
FEW = 3  # examples: fewer are chance, whatever their share


@dataclass(frozen=True)
class RawPoint:
    """One point of the curve as its probes found it on their own: the rows that stand in that set, of `trials`."""

    scale: float
    standing: frozenset[int]
    trials: int


@dataclass(frozen=True)
class Trials:
    """All that was played for one requirement.

    Attributes:
        rounds: the game's finished tasks, in the order in which they were played on each example.
        within: the requirement's set.
        robust: bool `[N]`, the examples still standing in the end.
        probes: the curve's finished tasks.
        curve: points of growing scale.
        unbounded: robust accuracy when every input is allowed, if it was probed.
        reached: rows that the search for the nearest wrong answer brought to one inside the set.
    """

    rounds: tuple[Done, ...]
    within: PerturbationSet
    robust: Tensor
    probes: tuple[Done, ...]
    curve: tuple[RawPoint, ...]
    unbounded: Measured | None
    reached: frozenset[int]


def find_signs(trials: Trials, doubts: Doubts) -> tuple[Sign, ...]:
    """All signs that these trials, and the doubts about the model, raise.

    What the adaptive search mended raises no sign: it found the randomness, or the part whose gradient misleads, played
    on all that still stand with gradients composed around it, and saw that steps along those pay.
    """
    mended = _mended(trials.rounds, trials.robust)
    found = [
        None if mended else _unstable(doubts.unstable),
        None if mended else _misled(doubts.misled),
        _not_mended(trials.rounds, trials.robust),
        None if mended else _detector(trials.rounds, trials.robust),
        _rising(trials.rounds, trials.robust),
        _out_of_reach(doubts.out_of_reach),
        _broken((*trials.rounds, *trials.probes)),
        _not_played(trials),
        *(
            sign
            for sign in _gradients(trials.rounds, trials.robust)
            if sign and not (mended and sign.name in _MENDABLE)
        ),
        _black_box(trials.rounds),
        _probe_beats_game(trials),
        _radius(trials.curve, trials.unbounded),
    ]
    return tuple(sign for sign in found if sign is not None)


_MENDABLE = (SignName.NAN_GRADIENTS, SignName.VANISHING_GRADIENTS, SignName.LOSS_DOES_NOT_GROW)


def _adaptive(rounds: Sequence[Done]) -> list[tuple[Found, Tensor]]:
    """What adaptive strategies noted, and the rows that they played on."""
    return [(note, torch.tensor(done.task.rows)) for done in rounds for note in done.result.meter.notes]


def _mended(rounds: Sequence[Done], robust: Tensor) -> bool:
    """Whether all that still stand were attacked by gradients that a search had composed, and that pay."""
    covered = torch.zeros(len(robust), dtype=torch.bool)
    for note, rows in _adaptive(rounds):
        covered[rows] |= bool(note.parts) and note.mended
    return bool((covered | ~robust).all()) and bool(covered.any())


def _not_mended(rounds: Sequence[Done], robust: Tensor) -> Sign | None:
    open_parts: dict[str, int] = {}
    for note, rows in _adaptive(rounds):
        if not note.mended and bool(robust[rows].any()):
            for part in note.parts:
                open_parts[f"{part.part} ({part.flaw})"] = 0
    if not open_parts:
        return None
    return Sign(
        name=SignName.PART_NOT_MENDED,
        explanation=f"The adaptive search found {', '.join(open_parts)}, and no way around: steps along the best "
        "gradients that it composed do not pay.",
    )


def _detector(rounds: Sequence[Done], robust: Tensor) -> Sign | None:
    """Examples that stand because they were refused, by strategies that do not try to be answered."""
    refused = torch.zeros(len(robust), dtype=torch.bool)
    for done in rounds:
        refused[torch.tensor(done.task.rows)] |= done.result.meter.refusals > 0
    count, standing = int((refused & robust).sum()), int(robust.sum())
    if count < max(FEW, REFUSED_SHARE * standing):
        return None
    return Sign(
        name=SignName.DETECTOR_NOT_ATTACKED,
        explanation=f"{count} of the {standing} examples that still stand were refused on the way, and no strategy "
        "that attacks classifier and detector together could be believed.",
    )


def _rising(rounds: Sequence[Done], robust: Tensor) -> Sign | None:
    """Indicator 4 of Pintor et al. 2022, incomplete optimisation: the climb was cut off before it had ended."""
    climbed, ended = (torch.zeros(len(robust), dtype=torch.bool) for _ in range(2))
    for done in rounds:
        if done.task.attack.needs < Access.GRADIENTS:
            continue
        meter, rows = done.result.meter, torch.tensor(done.task.rows)
        climbed[rows] |= meter.steps > 0
        ended[rows] |= (meter.steps > 0) & (meter.last_rise <= (1 - LATE) * meter.steps)
    climbed &= robust
    rising, standing = int((climbed & ~ended).sum()), int(climbed.sum())
    if rising < max(FEW, RISING_SHARE * standing):
        return None
    return Sign(
        name=SignName.NOT_CONVERGED,
        explanation=f"On {rising} of the {standing} examples that still stand, the loss was still rising when every "
        "gradient strategy ended: more steps would have found more.",
    )


def _misled(share: float | None) -> Sign | None:
    if share is None or share < MISLED_SHARE:
        return None
    return Sign(
        name=SignName.GRADIENT_MISLEADS,
        explanation=f"On {share:.0%} of the examples looked at, a short step along the gradient seldom raised the "
        "loss: what the model gives as its gradient is not one.",
    )


def _out_of_reach(why: str | None) -> Sign | None:
    if why is None:
        return None
    return Sign(
        name=SignName.GRADIENTS_OUT_OF_REACH,
        explanation=f"The adversary knows the weights, but no attack that uses gradients could be played: {why}.",
    )


def _not_played(trials: Trials) -> Sign | None:
    """Examples that stand because nobody spent a pass on them in some member of the set."""
    for member in trials.within.members:
        spent = torch.zeros(len(trials.robust), dtype=torch.int64)
        for done in trials.rounds:
            if done.task.within == member:
                spent[torch.tensor(done.task.rows)] += done.result.meter.passes
        left_out = int((trials.robust & (spent == 0)).sum())
        if left_out:
            return Sign(
                name=SignName.NOT_PLAYED,
                explanation=f"{left_out} of the examples that still stand were never attacked within {member}: "
                "the budget does not buy one step of any strategy there.",
            )
    return None


def _probe_beats_game(trials: Trials) -> Sign | None:
    """The gradient probe at the requirement's own radius moves in the very set that the game was played in.

    Probes without gradients are left out: two searches by chance find different examples.
    """
    point = next((point for point in trials.curve if point.scale == 1.0), None)
    if point is None:
        return None
    probed = {row for done in trials.probes if done.task.attack.needs >= Access.GRADIENTS for row in done.task.rows}
    missed = sum(bool(trials.robust[row]) for row in (probed - point.standing) | trials.reached)
    if missed < max(FEW, PROBE_SHARE * point.trials):
        return None
    return Sign(
        name=SignName.PROBE_BEATS_GAME,
        explanation=f"A quick probe in the same set fooled {missed} of {point.trials} examples that the strategies of "
        "the game left standing: they are too few, or their budget is too small.",
    )


def _unstable(share: float) -> Sign | None:
    if share == 0:
        return None
    return Sign(
        name=SignName.UNSTABLE_OUTPUTS,
        explanation=f"{share:.0%} of the examples got different answers to two identical queries: the model is "
        "randomised, and these strategies do not average over its randomness.",
    )


def _broken(rounds: Sequence[Done]) -> Sign | None:
    broken = {done.task.attack.name: done.result.broke for done in rounds if done.result.broke}
    if not broken:
        return None
    name, why = next(iter(broken.items()))
    return Sign(
        name=SignName.BROKEN_STRATEGY,
        explanation=f"{', '.join(broken)} could not be played to the end (first: {name}: {(why or '')[:200]}).",
    )


def _gradients(rounds: Sequence[Done], robust: Tensor) -> list[Sign | None]:
    """Vanishing or broken gradients, and losses that do not grow."""
    size = len(robust)
    seen, attacked, not_finite = (torch.zeros(size, dtype=torch.bool) for _ in range(3))
    usable, grew = torch.zeros(size, dtype=torch.bool), torch.zeros(size, dtype=torch.bool)
    for done in rounds:
        meter, rows = done.result.meter, torch.tensor(done.task.rows)
        if done.task.attack.needs < Access.GRADIENTS or not all(note.mended for note in meter.notes):
            continue  # gradients that were composed, and do not pay, are no sign of health
        stepped = meter.steps > 0
        attacked[rows] |= stepped
        seen[rows] |= stepped & ~done.result.fooled
        not_finite[rows] |= meter.nan > 0
        usable[rows] |= stepped & (meter.vanished <= meter.steps / 2)
        growth = meter.best_loss - meter.first_loss
        grew[rows] |= stepped & (growth > FLAT_GROWTH * meter.first_loss.abs())
    standing = int((seen & robust).sum())
    signs: list[Sign | None] = []
    if attacked.any() and (share := float(not_finite.sum() / attacked.sum())) >= NAN_SHARE:
        signs.append(
            Sign(
                name=SignName.NAN_GRADIENTS,
                explanation=f"The gradient was NaN or infinite on {share:.0%} of the examples attacked.",
            )
        )
    if standing == 0:
        return signs
    vanished = float((seen & robust & ~usable).sum()) / standing
    flat = float((seen & robust & ~grew).sum()) / standing
    if vanished >= VANISHED_SHARE:
        signs.append(
            Sign(
                name=SignName.VANISHING_GRADIENTS,
                explanation=f"The gradient was zero on {vanished:.0%} of the examples that still stand, for every "
                "strategy that uses it: it points nowhere, so its attacks prove nothing.",
            )
        )
    if flat >= FLAT_SHARE:
        signs.append(
            Sign(
                name=SignName.LOSS_DOES_NOT_GROW,
                explanation=f"No gradient strategy raised its loss on {flat:.0%} of the examples that still stand.",
            )
        )
    return signs


def _black_box(rounds: Sequence[Done]) -> Sign | None:
    """Examples that gradients left standing in a norm ball, and a strategy without gradients fooled."""
    white = {row for done in rounds if done.task.attack.needs >= Access.GRADIENTS for row in done.task.rows}
    missed: dict[str, int] = {}
    for done in rounds:
        if done.task.attack.needs < Access.GRADIENTS and isinstance(done.task.within, NormBall):
            fooled = [row for row, fell in zip(done.task.rows, done.result.fooled.tolist(), strict=True) if fell]
            count = len(white.intersection(fooled))
            missed[done.task.attack.name] = missed.get(done.task.attack.name, 0) + count
    total = sum(missed.values())
    if not white or total < max(2, BLACK_BOX_SHARE * len(white)):
        return None
    names = " and ".join(name for name, count in missed.items() if count)
    return Sign(
        name=SignName.BLACK_BOX_BEATS_WHITE_BOX,
        explanation=f"Without using gradients, {names} fooled {total} examples that every gradient strategy had left "
        f"standing, {total / len(white):.1%} of those attacked: the gradients mislead.",
    )


def _radius(curve: Sequence[RawPoint], unbounded: Measured | None) -> Sign | None:
    for small, large in pairwise(curve):
        more = len(large.standing) - len(small.standing)
        if more >= max(FEW, NOT_MONOTONE * large.trials):
            return Sign(
                name=SignName.RADIUS_DOES_NOT_HURT,
                explanation=f"{large.scale:g} times the radius left {more} of {large.trials} examples more standing "
                f"than {small.scale:g} times: a larger set must not be easier to defend.",
            )
    if unbounded is not None and unbounded.successes >= max(FEW, UNBOUNDED_SHARE * unbounded.trials):
        return Sign(
            name=SignName.RADIUS_DOES_NOT_HURT,
            explanation=f"With every input allowed, {unbounded.value:.0%} of the examples still stand: "
            "an attack that works leaves next to none.",
        )
    return None
