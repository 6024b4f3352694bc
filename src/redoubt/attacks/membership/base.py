"""The one open type of the membership room, and what an adversary has to go by."""

import abc
import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, Tensor

from redoubt.models.base import Face
from redoubt.records import Access


@dataclass(frozen=True)
class Asked:
    """What the target answered to Q variants of each of N records; the first variant is the record itself.

    Attributes:
        right: bool `[N, Q]`: whether it gave the record's label.
        confidence: scaled confidences, float64 `[N, Q]`; None where only labels are shown.
        greatest: the greatest log-probabilities it gave the record itself, falling, float64 `[N, T]`; or None.
    """

    right: Tensor
    confidence: Tensor | None = None
    greatest: Tensor | None = None


@dataclass(frozen=True)
class Shadows:
    """What M models of the adversary's own say of the N records themselves.

    Attributes:
        confidence: scaled confidences, float64 `[M, N]`.
        greatest: float64 `[M, N, T]`.
        inside: bool `[M, N]`: whether that model was trained on that record.
    """

    confidence: Tensor
    greatest: Tensor
    inside: Tensor


@dataclass(frozen=True)
class View:
    """All that the adversary goes by.

    Attributes:
        y: labels of the records, int64 `[N]`.
        target: the target's answers.
        shadows: models of its own, for attacks that take them.
    """

    y: Tensor
    target: Asked
    shadows: Shadows | None = None


class MembershipAttack(abc.ABC):
    """A strategy that says of each record how likely it was in the target's training data.

    Write a frozen dataclass whose fields are the attack's parameters, and `scores`.  It holds no state between calls
    and draws nothing at random: what has to be drawn (variants, shadow models) is drawn by others, from a seed.

    Attributes:
        name: as evidence and policies name it.
        needs: the least access to the target that it can be played with: LABEL or SCORES.
        shadowed: whether it takes shadow models.
    """

    name: ClassVar[str]
    needs: ClassVar[Access]
    shadowed: ClassVar[bool]

    @abc.abstractmethod
    def scores(self, view: View) -> Tensor:
        """A score for each record, finite float64 `[N]`: the greater, the more likely a member.

        A record's score depends on other records only as far as the adversary learns from them how members look.

        Raises:
            ValueError: what it goes by is not there, or is not enough.
        """

    def variants(self, x: Tensor, face: Face, rng: Generator) -> Tensor:
        """What to ask the target about N records `[N, *shape]`: `[N, Q, *shape]`, the records themselves first.

        What is drawn is the same for every record, so that a record fares alike in any batch.
        """
        return x.unsqueeze(1)

    def refuses(self, face: Face) -> str | None:
        """Why it cannot be played on such inputs; None if it can."""
        return None

    @property
    def parameters(self) -> dict[str, bool | int | float | str | None]:
        """The dataclass fields, for the evidence."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)  # type: ignore[arg-type]  # every strategy is a dataclass
        }


def confidences(view: View) -> Tensor:
    """The target's confidences `[N, Q]`.

    Raises:
        ValueError: only labels were shown.
    """
    if view.target.confidence is None:
        raise ValueError("the target showed labels only")
    return view.target.confidence


def shadows(view: View, least: int) -> Shadows:
    """The shadow models, at least that many on each side of every record.

    Raises:
        ValueError: there are none, or too few.
    """
    if view.shadows is None:
        raise ValueError("there are no shadow models")
    inside = view.shadows.inside.sum(dim=0)
    fewest = int(min(inside.min(), len(view.shadows.inside) - inside.max()))
    if fewest < least:
        raise ValueError(f"a record is in, or out of, {fewest} shadow models only; at least {least} are needed")
    return view.shadows
