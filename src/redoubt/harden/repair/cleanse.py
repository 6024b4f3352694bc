"""Repeated unlearning: invert the triggers of the suspected class, forget them, and look again until none is small.

A recovered trigger need not be the planted one, and a model that has forgotten it may still know the other.  So the
search begins anew after each lesson, from other starts and in several families of triggers, and all that was found so
far is kept in the lessons that follow.  That is adversarial training against universal triggers that lead to one
class (compare Zeng et al. 2022, whose perturbations lead anywhere), with a limit on what it may cost.

1. scan: for each class and family of triggers, the smallest one                      (detectors.inversion)
2. the class whose smallest trigger is the smallest beside the other classes' median is the suspect
3. rounds: invert triggers of that class; forget them and all earlier ones
4. the end is where the class is `margin` times as hard to reach as an ordinary one, or the price is spent
5. scan again
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from redoubt.attacks.backdoor import Trigger
from redoubt.attacks.backdoor.invert import FORMS, Form, Search, invert
from redoubt.data import Dataset
from redoubt.detectors import Scanned, scan_model
from redoubt.games.backdoor import answers
from redoubt.harden.repair.forget import Lesson, forget
from redoubt.models import TorchModel


@dataclass(frozen=True)
class Plan:
    """How a model is cleansed.

    Attributes:
        search: how long triggers are inverted, in scans and rounds.
        forms: the families; bending fields are left out, which few planters use and many natural triggers resemble.
        starts: of each family, for the suspected class, in each round.
        rounds: at most.
        lesson: what is learnt in each.
        margin: how many times as hard to reach as the median class the suspect is to be, in every family.  1 is not
            enough: while the planted trigger still works on some inputs, searches that want it to work on nearly all
            find larger ones.
        price: most of the accuracy that may be lost, 0..1: a round that costs more, by what held-out examples show
            beyond chance, is undone.
        stands_out: no round is begun unless the suspect is less than so many times as hard to reach as the median
            class.
    """

    search: Search = field(default_factory=lambda: Search(steps=100, batch=16))
    forms: tuple[Form, ...] = FORMS[:3]
    starts: int = 2
    rounds: int = 5
    lesson: Lesson = field(default_factory=Lesson)
    margin: float = 1.25
    price: float = 0.015
    stands_out: float = math.inf


@dataclass(frozen=True)
class Round:
    """One round.

    Attributes:
        number: from 1 on.
        hardness: of the suspect before its lesson; see `Cleansed.hardness`.
        accuracy: on held-out examples after it, 0..1.
        kept: whether it was worth its price; else it was undone.
    """

    number: int
    hardness: float
    accuracy: float
    kept: bool


@dataclass(frozen=True)
class Cleansed:
    """A model that was cleansed.

    Attributes:
        model: the repaired copy.
        suspect: the class.
        before, after: the scans.
        rounds: what was done; none if the class was hard to reach to begin with.
        accuracy: on held-out examples, before and after, 0..1.
    """

    model: TorchModel
    suspect: int
    before: tuple[Scanned, ...]
    after: tuple[Scanned, ...]
    rounds: tuple[Round, ...]
    accuracy: tuple[float, float]

    @property
    def hardness(self) -> tuple[float, float]:
        """How hard the suspect was and is to reach, against the median class before the repair.

        The least over families of the ratio of the triggers' sizes: below 1, an easier class than others; infinite, if
        no trigger was found.
        """
        ordinary = {each.form: _ordinary(each, self.suspect) for each in self.before}
        was, now = (_hardness(scanned, self.suspect, ordinary) for scanned in (self.before, self.after))
        return was, now


Heard = Callable[[str, int, int], None]


def cleanse(
    model: TorchModel,
    clean: Dataset,
    held: Dataset,
    targets: Sequence[int],
    plan: Plan | None = None,
    seed: int = 0,
    suspect: int | None = None,
    heard: Heard | None = None,
) -> Cleansed:
    """Unlearn the triggers of the class that stands out most, again and again, while accuracy on `held` lasts.

    What is not covered: all-to-all backdoors, and triggers that no family can write, as warps are; planters who ran
    the same search and trained against what it finds (`attacks.backdoor.inversion_aware`); a second backdoor to
    another class, for which the repaired model is to be cleansed again; and defenders whose held-out examples
    resemble those that they train on more than the world does, as frames of one video do: they see too low a price.

    Args:
        model: the suspect, on images `[C, H, W]`; it stays as it is.
        clean: trusted examples, to train on.
        held: others, to tell what a round costs.
        targets: classes to compare, at least 5 for a median that says something.
        plan: how; the default when None.
        seed: of everything.
        suspect: the class to make hard to reach, one of the targets; the one that stands out most when None.
        heard: called as the work goes on with what was done, how many steps are, and how many there may be.
    """
    plan = plan or Plan()
    done, of = 0, 2 * len(plan.forms) + plan.rounds

    def say(what: str) -> None:
        nonlocal done
        done += 1
        if heard is not None:
            heard(what, done, of)

    before = _scan(model, clean, targets, plan, seed, say)
    chosen = most_suspect(before) if suspect is None else suspect
    ordinary = {each.form: _ordinary(each, chosen) for each in before}
    begins = _hardness(before, chosen, ordinary) < plan.stands_out
    rng = Generator().manual_seed(seed * 1_000_003 + 777)
    mine, first = copy.deepcopy(model), _right(model, held)
    triggers: list[Trigger] = []
    rounds: list[Round] = []
    for number in range(1, plan.rounds + 1 if begins else 1):
        hardness, small = _small(mine, clean, chosen, ordinary, plan, rng)
        if not small:
            break
        triggers += small
        state = copy.deepcopy(mine.module.state_dict())
        forget(mine, model, triggers, clean, plan.lesson, rng)
        now = _right(mine, held)
        rounds.append(Round(number, hardness, _share(now), kept=surely_lost(first, now) <= plan.price))
        say(f"round {number}: was {hardness:.2f} times as hard to reach as others; accuracy now {_share(now):.1%}")
        if not rounds[-1].kept:
            mine.module.load_state_dict(state)
            break
    done = len(plan.forms) + plan.rounds
    after = _scan(mine, clean, targets, plan, seed, say) if rounds else before
    return Cleansed(mine, chosen, before, after, tuple(rounds), (_share(first), _share(_right(mine, held))))


def most_suspect(scanned: Sequence[Scanned]) -> int:
    """The class whose trigger is the smallest beside the median, in the family where that is most so."""
    return max(scanned, key=lambda each: each.shrinkage).suspect.target


def _scan(
    model: TorchModel, clean: Dataset, targets: Sequence[int], plan: Plan, seed: int, say: Callable[[str], None]
) -> tuple[Scanned, ...]:
    found: list[Scanned] = []
    for form in plan.forms:
        found += scan_model(model, clean.x, targets, seed, plan.search, [form])
        say(f"scanned for triggers of the family {form.name}")
    return tuple(found)


def _small(
    model: TorchModel, clean: Dataset, target: int, ordinary: Mapping[str, float], plan: Plan, rng: Generator
) -> tuple[float, list[Trigger]]:
    """How hard the class is to reach, and its triggers that are smaller than `margin` times an ordinary class's.

    Larger ones are no backdoor's, and dear to unlearn.
    """
    hardness, small = math.inf, []
    for form in plan.forms:
        for each in invert(model, clean.x, form, [target] * plan.starts, plan.search, rng):
            ratio = each.size / ordinary[form.name]
            hardness = min(hardness, ratio)
            if ratio < plan.margin:
                small.append(each.trigger)
    return hardness, small


def _hardness(scanned: Sequence[Scanned], target: int, ordinary: Mapping[str, float]) -> float:
    return min(found.size / ordinary[each.form] for each in scanned for found in each.found if found.target == target)


def _ordinary(scanned: Scanned, suspect: int) -> float:
    """Median size of the other classes' triggers; those that were not found count as the largest that was.

    1 if none was found at all: then a trigger of the suspect counts by its size alone.
    """
    others = [each.size for each in scanned.found if each.target != suspect]
    known = [size for size in others if math.isfinite(size)]
    if not known:
        return 1.0
    return max(float(torch.tensor([min(size, max(known)) for size in others]).median()), 1e-12)


def surely_lost(before: Tensor, after: Tensor) -> float:
    """How much accuracy was lost at least, with a confidence of 95 %, one-sided.

    Net loss less 1.645 standard errors, which are those of the examples whose answers changed (McNemar's): the same
    examples are asked twice, so that those that both times are right, or wrong, say nothing.

    >>> right, wrong = torch.ones(100, dtype=torch.bool), torch.zeros(100, dtype=torch.bool)
    >>> surely_lost(right, right), round(surely_lost(right, wrong), 3)
    (0.0, 0.836)

    Args:
        before: which of N held-out examples were answered rightly, bool `[N]`.
        after: which of them are.
    """
    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    return (lost - won - 1.645 * math.sqrt(lost + won)) / len(before)


def _right(model: TorchModel, data: Dataset) -> Tensor:
    return answers(model, data.x) == data.y


def _share(right: Tensor) -> float:
    return float(right.double().mean())
