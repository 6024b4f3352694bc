"""The games that are played: what a requirement of each says, and what a verdict on it rests on.

Each room has one such table, and a new game is a line in every one: here, `policy/games.py` (how it is checked and
explained), `assess/games.py` (how it is planned and concluded) and `report/games.py` (how it is told).
"""

from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeAlias, Union

from pydantic import Discriminator, Tag

from redoubt.records.backdoor import BackdoorRequirement
from redoubt.records.backdoor_evidence import BackdoorEvidence
from redoubt.records.evasion import EvasionRequirement
from redoubt.records.evidence import EvasionEvidence, RequirementEvidence
from redoubt.records.guarantee import PrivacyRequirement
from redoubt.records.guarantee_evidence import PrivacyEvidence
from redoubt.records.membership import MembershipRequirement
from redoubt.records.membership_evidence import MembershipEvidence
from redoubt.records.memorisation import MemorisationRequirement
from redoubt.records.memorisation_evidence import MemorisationEvidence
from redoubt.records.poisoning import PoisoningRequirement
from redoubt.records.poisoning_evidence import PoisoningEvidence
from redoubt.records.requirement import Requirement


class GameRecords(NamedTuple):
    """The two records of a game."""

    requirement: type[Requirement]
    evidence: type[RequirementEvidence]


RECORDS: dict[str, GameRecords] = {
    "evasion": GameRecords(EvasionRequirement, EvasionEvidence),
    "membership": GameRecords(MembershipRequirement, MembershipEvidence),
    "backdoor": GameRecords(BackdoorRequirement, BackdoorEvidence),
    "poisoning": GameRecords(PoisoningRequirement, PoisoningEvidence),
    "memorisation": GameRecords(MemorisationRequirement, MemorisationEvidence),
    "privacy": GameRecords(PrivacyRequirement, PrivacyEvidence),
}
"""Every game, by its name in a policy.  The first is what a requirement that names no such game is read as."""

GAMES: dict[str, type[Requirement]] = {name: game.requirement for name, game in RECORDS.items()}
"""What a requirement of each game says."""


def _game_of(value: object) -> str:
    """Which game a mapping names; evasion where it names none that is played, so that messages speak of one game."""
    game = value.get("game") if isinstance(value, dict) else getattr(value, "game", None)
    return game if isinstance(game, str) and game in RECORDS else "evasion"


if TYPE_CHECKING:
    AnyRequirement: TypeAlias = Requirement
    AnyEvidence: TypeAlias = RequirementEvidence
else:
    AnyRequirement = Annotated[
        Union[tuple(Annotated[game.requirement, Tag(name)] for name, game in RECORDS.items())],  # noqa: UP007
        Discriminator(_game_of),
    ]
    AnyEvidence = Annotated[
        Union[tuple(Annotated[game.evidence, Tag(name)] for name, game in RECORDS.items())],  # noqa: UP007
        Discriminator("game"),
    ]
