"""From a lower bound, a claim and the chance of what was found to a verdict."""

from redoubt.records import Verdict
from redoubt.records.privacy import PrivacyClaim


def judge(claim: PrivacyClaim, bound: float, chance: float, level: float) -> tuple[Verdict, str]:
    """VIOLATED if the lower bound lies above the claim, or what was found is too unlikely under the claimed curve.

    Each of the two is wrong with half of `1 - level` at most.  WITHSTOOD otherwise: an audit never proves a claim.
    """
    allowed = (1 - level) / 2
    said = f"epsilon is at least {bound:.3g} at delta {claim.delta:g}, with confidence {1 - allowed:.1%}"
    claimed = f"{claim.epsilon:.3g} is claimed"
    if bound > claim.epsilon:
        return Verdict.VIOLATED, f"{said}; {claimed}. The training gives away more than its ledger says."
    if chance < allowed:
        return Verdict.VIOLATED, (
            f"{said}; {claimed}. What was guessed has a chance of {chance:.2g} at most if all that is claimed at every "
            "delta holds. The training gives away more than its ledger says."
        )
    return Verdict.WITHSTOOD, (
        f"{said}; {claimed}. These canaries and distinguishers found nothing against the claim; others might. "
        "What shows that a claim holds is its proof and its accountant, not an audit."
    )
