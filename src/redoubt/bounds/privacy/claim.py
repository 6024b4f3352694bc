"""What a ledger claims, as an audit takes it: one epsilon, and the whole curve of which it is a point."""

import numpy as np

from redoubt.bounds.privacy.accountants import curve
from redoubt.bounds.privacy.events import EVERYONE
from redoubt.bounds.privacy.ledger import PrivacyLedger
from redoubt.bounds.privacy.spend import quiet, tightest
from redoubt.games.privacy.tradeoff import Tradeoff
from redoubt.records import PolicyError
from redoubt.records.privacy import PrivacyClaim

_CELLS = 160


def claim_of(ledger: PrivacyLedger, delta: float, group: str = EVERYONE) -> tuple[PrivacyClaim, Tradeoff]:
    """Epsilon at `delta`, and the trade-off that all deltas together make.

    Raises:
        PolicyError: delta is not in (0, 1), there is nothing in the ledger, or nobody knows an event's cost.
        KeyError: there is no such group.
    """
    if not 0 < delta < 1:
        raise PolicyError(f"delta is {delta!r}", remedy="give a delta between 0 and 1, far below 1 over the records")
    events = ledger.touching(group)
    by = tightest(events)
    with quiet():
        whole = curve(events, by)
        epsilon = whole.epsilon(delta)
        if not np.isfinite(epsilon):
            raise PolicyError("the ledger claims nothing at this delta", remedy="give a larger delta")
        fine, coarse = np.linspace(0.0, 8.0, _CELLS), np.linspace(8.0, 40.0, _CELLS // 4)
        grid = np.unique(np.concatenate([fine, coarse, [epsilon]]))
        deltas = np.clip(whole.deltas(grid), 0.0, 1.0)
    return PrivacyClaim(epsilon=epsilon, delta=delta, by=by), Tradeoff(grid, deltas)
