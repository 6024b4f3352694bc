"""The signals that detectors give and rules read: one table, and nothing else may be named in a rule."""

import enum
from dataclasses import dataclass


class Step(enum.IntEnum):
    """The steps of the guard that measure something."""

    RECALL = 4
    SUPPORT = 6


@dataclass(frozen=True)
class Meaning:
    """What one signal says.

    Attributes:
        step: when it is measured.
        low, high: the values it may take, both included; anything else is unknown.
        whole: whether it is a count.
        detector: its settings under `guard.detectors`; empty when there are none.
        says: in a sentence.
    """

    step: Step
    low: float
    high: float
    whole: bool
    detector: str
    says: str


_MANY = 2.0**53

SIGNALS: dict[str, Meaning] = {
    "similar_queries": Meaning(
        Step.RECALL, 0, _MANY, True, "fingerprints", "Other remembered queries of this account that are like this one."
    ),
    "similar_queries_all": Meaning(
        Step.RECALL, 0, _MANY, True, "fingerprints", "Other remembered queries of any account that are like this one."
    ),
    "shared_hashes": Meaning(
        Step.RECALL, 0, 1, False, "fingerprints", "Greatest share of hashes in common with one other remembered query."
    ),
    "query_distance": Meaning(
        Step.RECALL,
        0,
        _MANY,
        False,
        "query_distance",
        "Mean distance to the nearest earlier queries of this account, as a share of the greatest possible distance; "
        "1 while there are too few of them.",
    ),
    "credibility": Meaning(
        Step.SUPPORT,
        0,
        1,
        False,
        "deep_knn",
        "Share of calibration examples whose neighbours support their label no better than this answer's do.",
    ),
    "knn_confidence": Meaning(
        Step.SUPPORT, 0, 1, False, "deep_knn", "One less the credibility of the second most credible label."
    ),
    "squeeze_gap": Meaning(
        Step.SUPPORT, 0, 2, False, "squeezing", "Greatest L1 distance between scores with and without detail."
    ),
    "overlay_entropy": Meaning(
        Step.SUPPORT,
        0,
        1,
        False,
        "strip",
        "Mean entropy of the answers, as a share of the greatest, when clean inputs are laid over this one.",
    ),
    "models_agree": Meaning(
        Step.SUPPORT, 0, 1, True, "second_model", "1 if the second model gives the same label, else 0."
    ),
    "frames_agree": Meaning(
        Step.SUPPORT, 0, 1, False, "frames", "Share of the latest frames of the stream that got the same label."
    ),
    "confidence": Meaning(Step.SUPPORT, 0, 1, False, "", "Greatest probability: the weak baseline."),
}
