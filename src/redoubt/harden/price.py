"""From a finished training to its evidence."""

from dataclasses import asdict
from importlib import metadata

import torch

from redoubt.harden.course import Course
from redoubt.harden.parallel import members
from redoubt.harden.train import Training
from redoubt.policy import PolicyFile
from redoubt.records import EpochPoint, Hardening, Price, Recipe, digest


def evidence_of(
    file: PolicyFile, training: Training, before: str, course: Course, price: Price, weights: bytes
) -> Hardening:
    """The evidence of a finished training.

    Args:
        file: the policy.
        training: with what it was trained.
        before: digest of the model as it was.
        course: where training ended.
        price: what it cost and gained.
        weights: the weights file.
    """
    return Hardening(
        redoubt=metadata.version("redoubt"),
        system=file.policy.system,
        against=str(training.within),
        recipe=Recipe.model_validate(training.recipe.effective()),
        seed=training.seed,
        policy=digest(file.text.encode()),
        data=training.data.digest,
        model_before=before,
        model_after=course.shown.digest(),
        weights=digest(weights),
        versions={"torch": torch.__version__},
        device=str(training.device),
        processes=members()[1],
        price=price,
        curve=tuple(EpochPoint(**asdict(epoch)) for epoch in course.history),
    )
