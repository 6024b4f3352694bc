"""The evasion game through a guard: one example at a time, with accounts, refusals, locks and hours.

The plan of one attempt:

1. accounts of its own, a clock that starts                          (judge)
2. the strategy proposes a point of the set                           (strategy)
3. the proposal is projected into the set, and drawn                  (judge)
4. it has won if a wrong answer was let out for exactly that input    (judge)

The wrong answer counts when it was let out, be it to the strategy's own last question: what has left the guard has
left it.  If the strategy proposes what it never asked, the judge submits it as the customer would, and a refusal is no
success.  A bare model is played in the same way, so that the two can be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.games.evasion import NATURE, propose
from redoubt.models.accounts import OutOfAccounts, Tally
from redoubt.models.base import Model
from redoubt.models.customer import Customer
from redoubt.models.meter import Metered
from redoubt.perturb.base import PerturbationSet
from redoubt.records import Access, Budget


@dataclass(frozen=True)
class Attempt:
    """What came of one example.

    Attributes:
        fooled: a wrong answer was let out for a point of the set.
        tally: what it cost; of a bare model, the queries alone.
        broke: why the strategy could not be played to its end, if it could not.
    """

    fooled: bool
    tally: Tally
    broke: str | None = None


def play_each(
    model: Model,
    attack: EvasionAttack,
    x: Tensor,
    y: Tensor,
    within: PerturbationSet,
    access: Access,
    budget: Budget,
    seeds: Sequence[int],
    first: int = 0,
) -> list[Attempt]:
    """One strategy against each of B inputs by itself.

    Args:
        model: the bare model; or a `Customer`, who takes `budget.accounts` accounts for each input in turn.
        attack: the strategy; one that is `adaptive` spreads over its accounts.
        x: inputs `[B, *shape]`, which the bare model answers rightly.
        y: labels `[B]`.
        within: where inputs may be moved.
        access: what the adversary may see.
        budget: what each input may cost.
        seeds: of the randomness of each, so that the bare and the guarded model meet the same attacker.
        first: place of the first account to take.

    Raises:
        EndpointError: the guard is gone, or speaks another language.
    """
    attempts = []
    for at, seed in enumerate(seeds):
        if isinstance(model, Customer):
            _begin(model, first, at, attack.adaptive, budget)
        rng = Generator().manual_seed(seed)
        attempts.append(_attempt(model, attack, x[at : at + 1], y[at : at + 1], within, access, budget, rng))
    return attempts


def replay(customer: Customer, perturbed: Tensor, y: Tensor, budget: Budget, first: int = 0) -> list[Attempt]:
    """Submit once each what was found elsewhere: inputs `[B, *shape]` that the bare model answers wrongly."""
    attempts = []
    for at in range(len(y)):
        _begin(customer, first, at, False, budget)
        fooled = _let_out(customer, perturbed[at : at + 1], y[at : at + 1])
        attempts.append(Attempt(fooled, customer.accounts.tally))
    return attempts


def _begin(customer: Customer, first: int, at: int, adaptive: bool, budget: Budget) -> None:
    many = budget.accounts or 1
    begin = first + at * many
    customer.begin(range(begin, begin + many), "spread" if adaptive else "naive")


def _attempt(
    model: Model,
    attack: EvasionAttack,
    x: Tensor,
    y: Tensor,
    within: PerturbationSet,
    access: Access,
    budget: Budget,
    rng: Generator,
) -> Attempt:
    handle = Metered(model, access, budget, 1)
    try:
        point, broke = propose(handle, attack, x, y, within, budget, rng)
    except OutOfAccounts:
        point, broke = None, None
    fooled = False
    if point is not None:
        fooled = bool(within.contains(x, point)) and _let_out_often(model, x, y, within, point, rng)
    tally = model.accounts.tally if isinstance(model, Customer) else Tally(queries=int(handle.meter.queries))
    return Attempt(fooled, tally, broke)


def _let_out_often(model: Model, x: Tensor, y: Tensor, within: PerturbationSet, point: Tensor, rng: Generator) -> bool:
    """Whether wrong answers are let out for enough outcomes of the point, drawn afresh."""
    vote = within.vote
    nature = Generator().manual_seed(rng.initial_seed() ^ NATURE)
    votes = sum(_let_out(model, within.draw(x, point, nature).detach(), y) for _ in range(vote.draws))
    return votes >= vote.needed(vote.draws)


def _let_out(model: Model, perturbed: Tensor, y: Tensor) -> bool:
    """Whether a wrong answer was let out, or is now, for exactly this input."""
    told = model.admitted(perturbed) if isinstance(model, Customer) else None
    if told is not None:
        return told != int(y)
    try:
        answer = model.query(perturbed)
    except OutOfAccounts:
        return False
    return bool((answer.labels != y) & ~answer.refused)
