"""What crosses a wall between rooms: frozen records, and the errors.  Imports neither numpy nor torch."""

from redoubt.records.assessment import Digests, Evidence
from redoubt.records.backdoor import BackdoorRequirement, WithinTrigger
from redoubt.records.backdoor_evidence import BackdoorEvidence, BrokenSearch, TriggerOutcome
from redoubt.records.canonical import canonical_json, digest
from redoubt.records.data import DataSource
from redoubt.records.decision import Action, Decision, Finding, LogEntry, Receipt, Standing
from redoubt.records.errors import (
    DataError,
    EndpointError,
    Fault,
    LedgerError,
    ModelError,
    Place,
    PolicyError,
    RedoubtError,
    SignatureError,
    StorageError,
)
from redoubt.records.evasion import EvasionRequirement
from redoubt.records.evidence import (
    BrokenPart,
    CurvePoint,
    Distances,
    Estimated,
    EvasionEvidence,
    ExampleResult,
    FeatureMove,
    Figure,
    Found,
    Interval,
    InvarianceCheck,
    Measured,
    OtherClass,
    Proofs,
    RequirementEvidence,
    Sign,
    SignName,
    StrategyOutcome,
    Tried,
    Verdict,
)
from redoubt.records.games import GAMES
from redoubt.records.guarantee import PrivacyRequirement
from redoubt.records.guarantee_evidence import PrivacyEvidence, SpentPart
from redoubt.records.guard import Guard, Lockout, Rule, Tier
from redoubt.records.harden import Augmentation, HardenRecipe, Recipe, StaticModel
from redoubt.records.hardening import EpochPoint, Hardening, Price, Swept
from redoubt.records.membership import MembershipRequirement, ShadowRecipe
from redoubt.records.membership_evidence import (
    ExposedRecord,
    MembershipEvidence,
    MembershipOutcome,
    RocPoint,
    ShadowModels,
)
from redoubt.records.poisoning import PoisoningRequirement, VictimRecipe
from redoubt.records.poisoning_evidence import PoisonedTarget, PoisoningEvidence, PoisoningOutcome, Victims
from redoubt.records.memorisation import CanarySet, MemorisationRequirement, PlantedCanary
from redoubt.records.memorisation_evidence import ExposedCanary, ExtractedPiece, MemorisationEvidence
from redoubt.records.policy import Access, Adversary, Budget, InputFace, ModelSource, Policy
from redoubt.records.requirement import MEASURES, Bound, Requirement
from redoubt.records.signals import SIGNALS
from redoubt.records.trust import Demand, Signature
from redoubt.records.within import (
    Norm,
    Within,
    WithinAnyOf,
    WithinCorruptions,
    WithinNorm,
    WithinPatch,
    WithinSimple,
    WithinTable,
    WithinTurn,
)
from redoubt.records.work import Work

__all__ = [
    "GAMES",
    "MEASURES",
    "SIGNALS",
    "Access",
    "Action",
    "Adversary",
    "Augmentation",
    "BackdoorEvidence",
    "BackdoorRequirement",
    "Bound",
    "BrokenPart",
    "BrokenSearch",
    "Budget",
    "CanarySet",
    "CurvePoint",
    "DataError",
    "DataSource",
    "Decision",
    "Demand",
    "Digests",
    "Distances",
    "EndpointError",
    "EpochPoint",
    "Estimated",
    "EvasionEvidence",
    "EvasionRequirement",
    "Evidence",
    "ExampleResult",
    "ExposedCanary",
    "ExposedRecord",
    "ExtractedPiece",
    "Fault",
    "FeatureMove",
    "Figure",
    "Finding",
    "Found",
    "Guard",
    "HardenRecipe",
    "Hardening",
    "InputFace",
    "Interval",
    "InvarianceCheck",
    "LedgerError",
    "Lockout",
    "LogEntry",
    "Measured",
    "MembershipEvidence",
    "MembershipOutcome",
    "MembershipRequirement",
    "MemorisationEvidence",
    "MemorisationRequirement",
    "ModelError",
    "ModelSource",
    "Norm",
    "OtherClass",
    "Place",
    "PoisonedTarget",
    "PoisoningEvidence",
    "PoisoningOutcome",
    "PoisoningRequirement",
    "PlantedCanary",
    "Policy",
    "PolicyError",
    "Price",
    "PrivacyEvidence",
    "PrivacyRequirement",
    "Proofs",
    "Receipt",
    "Recipe",
    "RedoubtError",
    "Requirement",
    "RequirementEvidence",
    "RocPoint",
    "Rule",
    "ShadowModels",
    "ShadowRecipe",
    "Sign",
    "SignName",
    "Signature",
    "SignatureError",
    "SpentPart",
    "Standing",
    "StaticModel",
    "StorageError",
    "StrategyOutcome",
    "Swept",
    "Tier",
    "Tried",
    "TriggerOutcome",
    "Verdict",
    "VictimRecipe",
    "Victims",
    "Within",
    "WithinAnyOf",
    "WithinCorruptions",
    "WithinNorm",
    "WithinPatch",
    "WithinSimple",
    "WithinTable",
    "WithinTrigger",
    "WithinTurn",
    "Work",
    "canonical_json",
    "digest",
]
