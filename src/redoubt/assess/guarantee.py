"""The privacy game within an assessment: a ledger is read and added up, and an audit held against it."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from torch import Tensor

from redoubt.assess.job import ChainOf
from redoubt.assess.setting import Setting
from redoubt.bounds.privacy import read_ledger, spend
from redoubt.bounds.privacy.accountants import epsilon
from redoubt.bounds.privacy.events import EVERYONE, FREE, DataDependent
from redoubt.bounds.privacy.explain import describe_event, explain_spend
from redoubt.bounds.privacy.spend import Spend, quiet
from redoubt.games.privacy import Accounted, conclude_guarantee
from redoubt.records import (
    DataError,
    Estimated,
    Place,
    PolicyError,
    PrivacyEvidence,
    PrivacyRequirement,
    SpentPart,
    Work,
)
from redoubt.records.privacy import PrivacyAudit

_MOST_BYTES = 1 << 20  # of an audit's result
_SAME = 1e-3  # two sums of one ledger, by whatever version of an accountant


@dataclass(frozen=True)
class PrivacyPlan:
    """One requirement, with what it is judged by.  Nothing is left to be executed.

    Attributes:
        requirement: whose plan it is.
        digest: of the ledger's bytes.
        spent: what the ledger adds up to at the required delta.
        found: the same, as the judge takes it.
        audit: what an audit found, if one is named.
    """

    requirement: PrivacyRequirement
    digest: str
    spent: Spend
    found: Accounted
    audit: PrivacyAudit | None

    @property
    def chains(self) -> list[ChainOf]:
        """None."""
        return []

    def take(self, job: object, content: bytes) -> None:
        """Never called: there are no jobs."""


def plan_guarantee(requirement: PrivacyRequirement, setting: Setting) -> PrivacyPlan:
    """Read the ledger and the audit, and add up.

    Raises:
        DataError: a file cannot be read, or is not what it should be.
        PolicyError: no such group, or the audit is of another training or another delta.
    """
    file = setting.file
    at = file.policy.requirements.index(requirement)
    path, delta = file.base / requirement.ledger, requirement.require.delta or 0.0
    ledger = read_ledger(path)
    if requirement.group not in (EVERYONE, *ledger.groups):
        raise PolicyError(
            f"there is no group '{requirement.group}' in {requirement.ledger}",
            file.place("requirements", at, "group"),
            remedy=f"groups are {', '.join(dict.fromkeys([EVERYONE, *ledger.groups]))}",
        )
    spent = spend(ledger, delta, requirement.group)
    if not math.isfinite(spent.epsilon):
        raise PolicyError(
            f"{requirement.ledger} claims nothing at delta {delta:g}",
            file.place("requirements", at, "require"),
            remedy="require it at a larger delta",
        )
    events = [event for event in ledger.touching(requirement.group) if not isinstance(event, FREE)]
    audit = None
    if requirement.audit is not None:
        audit = _read_audit(file.base / requirement.audit)
        place = file.place("requirements", at, "audit")
        if audit.claim.delta < delta * (1 - 1e-9):
            raise PolicyError(
                f"the audit is at delta {audit.claim.delta:g}, which says nothing at delta {delta:g}",
                place,
                remedy=f"audit with --delta {delta:g}",
            )
        with quiet():
            claimed = epsilon(events, audit.claim.delta, spent.by)
        if not math.isclose(claimed, audit.claim.epsilon, rel_tol=_SAME, abs_tol=_SAME):
            raise PolicyError(
                f"the audit is of a training that claims epsilon {audit.claim.epsilon:.4g}, and {requirement.ledger} "
                f"claims {claimed:.4g}",
                place,
                remedy="audit the training of this ledger",
            )
    found = Accounted(
        events=len(events),
        upper=spent.epsilon,
        checks=tuple(spent.cross_checks.values()),
        lower=spent.lower,
        searched=sum(getattr(event, "settings", 0) for event in spent.unaccounted),
        secret=any(isinstance(event, DataDependent) and not event.released for event in events),
    )
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    return PrivacyPlan(requirement, digest, spent, found, audit)


def conclude_plan(plan: PrivacyPlan, _: Setting) -> tuple[PrivacyEvidence, dict[str, Tensor]]:
    """Judge one requirement."""
    requirement, spent, audit = plan.requirement, plan.spent, plan.audit
    verdict, reason = conclude_guarantee(requirement.require, plan.found, audit)
    least = audit.epsilon_lower_bound if audit is not None else 0.0
    most = max(spent.epsilon, least)
    figure = Estimated(
        measure="epsilon",
        value=most,
        low=least,
        high=most,
        level=(1 + audit.level) / 2 if audit is not None else 1.0,
        method=f"upper end: {spent.by} accountant; lower end: {audit.method + ' audit' if audit else 'not audited'}",
    )
    evidence = PrivacyEvidence(
        id=requirement.id,
        adversary=requirement.adversary,
        require=requirement.require,
        verdict=verdict,
        reason=reason,
        measures=(figure,),
        signs=(),
        work=Work(),
        ledger=requirement.ledger,
        digest=plan.digest,
        group=requirement.group,
        by=spent.by,
        cross_checks=dict(spent.cross_checks),
        lower=spent.lower,
        parts=tuple(
            SpentPart(what=describe_event(one.event), on=one.event.on, share=one.share, alone=one.alone)
            for one in spent.shares
        ),
        searched=plan.found.searched,
        said=explain_spend(spent),
        audit=audit,
        audit_file=requirement.audit,
    )
    return evidence, {}


def _read_audit(path: Path) -> PrivacyAudit:
    """What an audit found, as `redoubt privacy audit --json` printed it."""
    remedy = "name what redoubt privacy audit --json printed"
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise DataError(f"has more than {_MOST_BYTES} bytes", Place(str(path)), remedy=remedy)
        return PrivacyAudit.model_validate_json(raw)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", Place(str(path)), remedy=remedy) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(
            f"is no result of an audit: {where + ': ' if where else ''}{first['msg']}", Place(str(path)), remedy=remedy
        ) from error
