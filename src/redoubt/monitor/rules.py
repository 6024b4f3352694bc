"""The rules of one policy, compiled, by the tiers that they bind."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Self

from redoubt.policy.rules import CompiledRule, compile_rule
from redoubt.records import Action, Decision, Guard, Lockout


@dataclass(frozen=True)
class BoundRule:
    """One rule of the policy.

    Attributes:
        name: as the policy calls it.
        compiled: its expression.
        otherwise: what becomes of a query of which it is false.
    """

    name: str
    compiled: CompiledRule
    otherwise: Action


class Said:
    """Decisions by what they were made of, at most so many: most queries measure what others measured before them.

    A decision is a pure function of the rules, the tier and the signals, so that one made before is as good as new.
    """

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._decisions: dict[tuple[str, bytes], Decision] = {}

    def __len__(self) -> int:
        return len(self._decisions)

    def get(self, key: tuple[str, bytes]) -> Decision | None:
        """The decision on a tier and the bits of its signals, if it was made."""
        return self._decisions.get(key)

    def put(self, key: tuple[str, bytes], decision: Decision) -> None:
        """Keep it; when there are too many, forget all."""
        if len(self._decisions) >= self._most:
            self._decisions.clear()
        self._decisions[key] = decision


@dataclass(frozen=True)
class Rules:
    """What the monitor decides by.  Immutable, so that a batch ends with the rules it began with.

    Attributes:
        by_tier: the rules that bind each tier, in the policy's order.
        lockout: what `otherwise: lock` does.

    A tier that the policy does not know has no rules and no signals.
    """

    by_tier: Mapping[str, tuple[BoundRule, ...]]
    lockout: Lockout

    @classmethod
    def of(cls, guard: Guard) -> Self:
        """Compile a guard's rules.

        Raises:
            PolicyError: one of them is no rule.
        """
        compiled = [BoundRule(rule.name, compile_rule(rule.rule), Action(rule.otherwise)) for rule in guard.admit]
        by_tier = {
            tier: tuple(
                bound
                for rule, bound in zip(guard.admit, compiled, strict=True)
                if rule.tiers is None or tier in rule.tiers
            )
            for tier in guard.tiers
        }
        return cls(MappingProxyType(by_tier), guard.lockout)

    def binding(self, tier: str) -> tuple[BoundRule, ...]:
        """The rules that bind a tier."""
        return self.by_tier.get(tier, ())

    def signals(self, tier: str) -> frozenset[str]:
        """Every signal that a rule of that tier mentions: what must be measured before `decide`."""
        return self._signals.get(tier, frozenset())

    def names(self, tier: str) -> tuple[str, ...]:
        """The same, in an order that never changes."""
        return self._names.get(tier, ())

    @cached_property
    def said(self) -> Said:
        """What these rules have said before."""
        return Said()

    @cached_property
    def _names(self) -> Mapping[str, tuple[str, ...]]:
        return {tier: tuple(sorted(names)) for tier, names in self._signals.items()}

    @cached_property
    def _signals(self) -> Mapping[str, frozenset[str]]:
        return {
            tier: frozenset(name for rule in binding for name in rule.compiled.signals)
            for tier, binding in self.by_tier.items()
        }
