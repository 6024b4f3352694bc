"""Privacy accounting: a ledger of what was done with records, accountants that read it, and what it means in words."""

from redoubt.bounds.privacy.accountants import AccountantName, Curve, curve, epsilon, lower_epsilon
from redoubt.bounds.privacy.calibrate import noise_for
from redoubt.bounds.privacy.claim import claim_of
from redoubt.bounds.privacy.events import (
    EVERYONE,
    AccountedSearch,
    DataDependent,
    DeclaredSearch,
    Event,
    GaussianRelease,
    LaplaceRelease,
    NoisyMax,
    PoissonGaussian,
    PublicSearch,
    PublicTraining,
    ThresholdCheck,
)
from redoubt.bounds.privacy.explain import describe_event, explain_spend
from redoubt.bounds.privacy.ledger import Allowance, Group, PrivacyLedger
from redoubt.bounds.privacy.read import parse_ledger, read_ledger, write_ledger
from redoubt.bounds.privacy.spend import Share, Spend, must_be_within, spend

__all__ = [
    "EVERYONE",
    "AccountantName",
    "AccountedSearch",
    "Allowance",
    "Curve",
    "DataDependent",
    "DeclaredSearch",
    "Event",
    "GaussianRelease",
    "Group",
    "LaplaceRelease",
    "NoisyMax",
    "PoissonGaussian",
    "PrivacyLedger",
    "PublicSearch",
    "PublicTraining",
    "Share",
    "Spend",
    "ThresholdCheck",
    "claim_of",
    "curve",
    "describe_event",
    "epsilon",
    "explain_spend",
    "lower_epsilon",
    "must_be_within",
    "noise_for",
    "parse_ledger",
    "read_ledger",
    "spend",
    "write_ledger",
]
