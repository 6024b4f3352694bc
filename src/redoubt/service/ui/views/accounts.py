"""Accounts and their standings, and the keys."""

from dataclasses import dataclass

from redoubt.monitor.standing import DAY, is_locked, strikes_left, time_of
from redoubt.records import Guard, Standing
from redoubt.service.stores.base import Store, StoredKey

SHOWN = 100
_MOST = 10_000


@dataclass(frozen=True)
class Account:
    """One account as it stands now.

    Attributes:
        name: the key's id, or `jwt:` and a token's subject.
        note: whose it is, in the administrator's words.
        tier: of its key; empty for an account of tokens, which bring theirs along.
        today: inputs asked today (UTC).
        budget: how many it may ask in a day; None when its tier is not known.
        share: of the budget, 0 to 100.
        strikes: not yet forgotten.
        locked: seconds that a lock still lasts; None when there is none.
        seen: when it asked last, in seconds since 1970-01-01 UTC; 0 for never.
        revoked: whether its key is.
    """

    name: str
    note: str
    tier: str
    today: int
    budget: int | None
    share: float
    strikes: float
    locked: float | None
    seen: float
    revoked: bool


def list_accounts(store: Store, guard: Guard, part: str, now: float) -> tuple[list[Account], bool]:
    """Accounts whose name or note has a part: the locked first, then those that asked last.

    Returns:
        A hundred of them at most, and whether there are more.
    """
    stored = store.keys()
    keys = {key.id: key for key in stored}
    standings = store.standings(_MOST)
    names = [*standings, *(name for name in keys if name not in standings)]
    wanted = [
        name
        for name in names
        if part.casefold() in name.casefold() or (name in keys and part.casefold() in keys[name].note.casefold())
    ]
    found = [_account(name, keys.get(name), standings.get(name, Standing()), guard, now) for name in wanted]
    found.sort(key=lambda account: (account.locked is None, -account.seen, account.name))
    return found[:SHOWN], len(found) > SHOWN


def _account(name: str, key: StoredKey | None, standing: Standing, guard: Guard, now: float) -> Account:
    tier = guard.tiers.get(key.tier) if key else None
    today = standing.today if standing.day == int(now // DAY) else 0
    return Account(
        name=name,
        note=key.note if key else "",
        tier=key.tier if key else "",
        today=today,
        budget=tier.queries_per_day if tier else None,
        share=min(100.0, 100 * today / tier.queries_per_day) if tier else 0.0,
        strikes=strikes_left(standing, guard.lockout, now),
        locked=standing.locked_until - time_of(standing, now) if is_locked(standing, now) else None,
        seen=standing.seen_at,
        revoked=key is not None and key.revoked_at is not None,
    )
