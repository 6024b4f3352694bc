"""Strategies for the membership game, one file each, and the shadow models they take."""

from redoubt.attacks.membership.base import Asked, MembershipAttack, Shadows, View
from redoubt.attacks.membership.confidence import greatest, log_probability, scaled_confidence
from redoubt.attacks.membership.halves import halves
from redoubt.attacks.membership.label_only import LabelAugmentation, LabelNoise
from redoubt.attacks.membership.lira import LiRA, OfflineLiRA, lira_offline, lira_online
from redoubt.attacks.membership.loss_threshold import LossThreshold
from redoubt.attacks.membership.rmia import RMIA, OfflineRMIA, rmia
from redoubt.attacks.membership.shadow_classifier import ShadowClassifier

__all__ = [
    "RMIA",
    "Asked",
    "LabelAugmentation",
    "LabelNoise",
    "LiRA",
    "LossThreshold",
    "MembershipAttack",
    "OfflineLiRA",
    "OfflineRMIA",
    "ShadowClassifier",
    "Shadows",
    "View",
    "greatest",
    "halves",
    "lira_offline",
    "lira_online",
    "log_probability",
    "rmia",
    "scaled_confidence",
]
