"""The privacy ledger: what was done with which records, and what each group of them may spend."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from redoubt.bounds.privacy.events import EVERYONE, MOST_EVENTS, Event
from redoubt.records.base import Name, Record

MOST_GROUPS = 100


class Allowance(Record):
    """What may be spent at most: an (epsilon, delta) guarantee in the sense of Dwork and Roth 2014, definition 2.4."""

    epsilon: Annotated[float, Field(gt=0, le=1e3)]
    delta: Annotated[float, Field(gt=0, lt=1)]


class Group(Record):
    """Records that some events look at and others do not: those, say, whose owners opted in.

    Groups are taken to overlap: what was done on one counts for every other, unless one of the two says that they have
    no record in common.
    """

    disjoint_from: tuple[Name, ...] = Field(default=(), max_length=MOST_GROUPS)
    budget: Allowance | None = None


class PrivacyLedger(Record):
    """Events in the order in which they happened.  A ledger never changes: `plus` makes a longer one.

    `everyone` is the group of all records; it may stand among the groups for the sake of its budget.

    >>> from redoubt.bounds.privacy.events import GaussianRelease
    >>> ledger = PrivacyLedger(groups={"opted-in": Group()})
    >>> ledger = ledger.plus(GaussianRelease(noise_multiplier=8.0))
    >>> ledger = ledger.plus(GaussianRelease(noise_multiplier=4.0, on="opted-in"))
    >>> [event.noise_multiplier for event in ledger.touching("everyone")]
    [8.0]
    >>> [event.noise_multiplier for event in ledger.touching("opted-in")]
    [8.0, 4.0]
    """

    redoubt_privacy: Literal[1] = 1
    neighbours: Literal["one record added or removed"] = "one record added or removed"
    groups: dict[Name, Group] = Field(default_factory=dict, max_length=MOST_GROUPS)
    events: tuple[Event, ...] = Field(default=(), max_length=MOST_EVENTS)

    @model_validator(mode="after")
    def _names_are_known(self) -> "PrivacyLedger":
        known = {EVERYONE, *self.groups}
        named = [(f"events[{at}].on", event.on) for at, event in enumerate(self.events)]
        for name, group in self.groups.items():
            named += [(f"groups.{name}.disjoint_from", other) for other in group.disjoint_from]
            if EVERYONE in (name, *group.disjoint_from) and group.disjoint_from:
                raise ValueError(f"groups.{name}.disjoint_from: no group is disjoint from '{EVERYONE}'")
            if name in group.disjoint_from:
                raise ValueError(f"groups.{name}.disjoint_from: a group is not disjoint from itself")
        for place, name in named:
            if name not in known:
                raise ValueError(f"{place}: there is no group '{name}'; groups are {', '.join(sorted(known))}")
        return self

    def plus(self, *events: Event) -> "PrivacyLedger":
        """The ledger with more events at its end.

        Raises:
            ValueError: an event is on a group that this ledger does not know, or is no event.
        """
        return PrivacyLedger(groups=self.groups, events=(*self.events, *events))

    def touching(self, group: str = EVERYONE) -> tuple[Event, ...]:
        """The events that may have looked at a record of the group.

        `everyone` stands for a record that is in no other group.

        Raises:
            KeyError: there is no such group.
        """
        if group == EVERYONE:
            seen = {EVERYONE}
        else:
            here = self.groups[group]
            seen = {EVERYONE, group} | {
                name
                for name, other in self.groups.items()
                if name not in here.disjoint_from and group not in other.disjoint_from
            }
        return tuple(event for event in self.events if event.on in seen)
