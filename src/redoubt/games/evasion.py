"""The evasion game: bring a rightly answered input, moved within an allowed set, to a wrong answer.

The plan of one round:

1. the strategy proposes a point of the set for each input           (strategy)
2. the proposal is projected into the set, and drawn                  (judge)
3. the model is asked again, outside the meter                        (judge)
4. an input is fooled if the answer is wrong and was not refused      (judge)
5. a model that answers otherwise when asked again is asked often:
   an input is fooled if most answers are wrong beyond chance         (judge)

Where the set leaves something to chance, 2 and 3 are done for each of the outcomes that its `vote` asks for, drawn with
randomness that the strategy never had; an input is fooled if enough of them are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.models.base import Model
from redoubt.models.examine import same
from redoubt.models.meter import Meter, Metered
from redoubt.perturb.base import PerturbationSet
from redoubt.records import Access, Budget, Fault

NATURE = 0x6E6174757265  # any constant that keeps the judge's randomness apart from the strategy's
ASKED, WRONG = 20, 15  # of a random model: one that is right half of the time is wrong so often with probability 2 %


@dataclass(frozen=True)
class Round:
    """What one strategy did to B inputs.

    Attributes:
        fooled: bool `[B]`, as the judge found.
        answers: int64 `[B]`, the model's answers to the perturbed inputs; -1 where it refused.
        perturbed: float32 `[B, *shape]`; of several outcomes, the first that fooled the model.
        size: float `[B]`, how far each was moved, in units of the set's radius.
        meter: what it cost, and what its gradients looked like.
        broke: why the strategy could not be played to its end, if it could not.
    """

    fooled: Tensor
    answers: Tensor
    perturbed: Tensor
    size: Tensor
    meter: Meter
    broke: str | None = None


def play_round(
    model: Model,
    attack: EvasionAttack,
    x: Tensor,
    y: Tensor,
    within: PerturbationSet,
    access: Access,
    budget: Budget,
    rng: Generator,
    nature: Generator | None = None,
) -> Round:
    """One strategy's turn against inputs that the model answers rightly.

    A strategy that breaks off with an error loses its proposals but not the game: the round says why it broke.  What is
    not its doing ends the game: a model or an endpoint that fails, memory that runs out.  Another run can go on there.

    Args:
        model: the system under assessment.
        attack: the strategy.
        x: clean inputs `[B, *shape]`.
        y: labels `[B]`.
        within: where inputs may be moved.
        access: what the adversary may see.
        budget: what each input may cost.
        rng: CPU generator, the strategy's only randomness.
        nature: CPU generator, the judge's randomness; derived from the seed of `rng` when absent.
    """
    nature = nature or Generator().manual_seed(rng.initial_seed() ^ NATURE)
    handle = Metered(model, access, budget, len(x))
    point, broke = propose(handle, attack, x, y, within, budget, rng)
    votes, answers, perturbed = ask(model, x, y, within, point, nature)
    fooled = (votes >= within.vote.needed(within.vote.draws)) & within.contains(x, point)
    if within.vote.draws == 1 and fooled.any():
        fooled[fooled.clone()] = still_fooled(model, perturbed[fooled], y[fooled])
    return Round(fooled, answers, perturbed, within.size(x, point), handle.meter, broke)


def ask(
    model: Model, x: Tensor, y: Tensor, within: PerturbationSet, point: Tensor, nature: Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Steps 2 and 3: how many outcomes of each point were answered wrongly, `[B]`; an answer to it and its picture.

    Answer and picture are those of the first outcome that was answered wrongly; where none was, of the first.
    """
    votes = torch.zeros_like(y)
    answers, perturbed = y, x
    for number in range(within.vote.draws):
        drawn = within.draw(x, point, nature).detach()
        answer = model.query(drawn)
        wrong = (answer.labels != y) & ~answer.refused
        first = wrong & (votes == 0) if number else torch.ones_like(wrong)
        answers = torch.where(first, answer.labels, answers)
        perturbed = torch.where(first.view(-1, *[1] * (x.dim() - 1)), drawn, perturbed)
        votes += wrong
    return votes, answers, perturbed


def still_fooled(model: Model, x: Tensor, y: Tensor) -> Tensor:
    """Step 5: whether inputs that were answered wrongly once are so for good.

    Asks twice; and where any two answers differ, until each was asked `ASKED` times, of which `WRONG` must be wrong.

    Args:
        model: the system.
        x: perturbed inputs `[B, *shape]`.
        y: labels `[B]`.

    Returns:
        Bool `[B]`.
    """
    first, again = model.query(x), model.query(x)
    if same(first, again).all():
        return (first.labels != y) & ~first.refused
    answers = [first, again, *(model.query(x) for _ in range(ASKED - 2))]
    return torch.stack([(one.labels != y) & ~one.refused for one in answers]).sum(dim=0) >= WRONG


def propose(
    handle: Metered,
    attack: EvasionAttack,
    x: Tensor,
    y: Tensor,
    within: PerturbationSet,
    budget: Budget,
    rng: Generator,
) -> tuple[Tensor, str | None]:
    """Steps 1 and 2: what the strategy proposes, projected into the set; and why it broke, if it did."""
    point, broke = within.start(x), None
    try:
        proposed = attack.run(handle, x, y, within, budget, rng)
        if proposed.shape != point.shape:
            raise Fault(f"{attack.name} proposed points of shape {list(proposed.shape)}, not {list(point.shape)}")
        if not torch.isfinite(proposed).all():
            raise Fault(f"{attack.name} proposed points that are not finite")
        point = proposed
    except torch.OutOfMemoryError:
        raise
    except (Fault, RuntimeError, ValueError, ArithmeticError, IndexError) as error:
        broke = f"{type(error).__name__}: {error}"
    return within.project(x, point), broke


def play(
    model: Model,
    strategies: Sequence[EvasionAttack],
    x: Tensor,
    y: Tensor,
    within: PerturbationSet,
    access: Access = Access.GRADIENTS,
    budget: Budget | None = None,
    seed: int = 0,
) -> Tensor:
    """Play strategies in turn, in memory, against whoever still stands and within one budget; for notebooks and
    tests.

    Returns:
        bool `[N]`: the model's answer was right and no strategy brought it to a wrong one.
    """
    robust = model.query(x).labels == y
    passes = queries = 0
    for number, attack in enumerate(strategies):
        rows = robust.nonzero().squeeze(1)
        left = (budget or Budget()).after(passes, queries)
        if len(rows) == 0 or left is None:
            break
        rng = torch.Generator().manual_seed(seed + number)
        played = play_round(model, attack, x[rows], y[rows], within, access, left, rng)
        robust[rows[played.fooled]] = False
        passes += int(played.meter.passes.max())
        queries += int(played.meter.queries.max())
    return robust
