"""A requirement of the backdoor game in plain sentences."""

from typing import get_args

from redoubt.records import BackdoorRequirement, Policy
from redoubt.records.backdoor import TriggerStrategy


def explain_backdoor(requirement: BackdoorRequirement, policy: Policy) -> str:
    """The whole paragraph."""
    height, width = policy.model.input.shape[-2:]
    pixels = max(int(requirement.within.patch * height * width + 1e-9), 1)
    targets = requirement.targets
    to = "any class" if targets is None else "class " + " or ".join(str(target) for target in targets)
    names = ", ".join(requirement.strategies or get_args(TriggerStrategy))
    return (
        f"Requirement {requirement.id}: {requirement.adversary} may know a trigger of {pixels:,} pixels at most, the "
        f"same on every input, that makes the model answer {to}. Such triggers are searched with half of the test "
        f"inputs ({names}); the best one found must send at most {100 * requirement.require.value:.4g} % of the other "
        "half there, counted over those of other classes that are answered rightly without it. A violation is a "
        "trigger in hand, whether somebody planted it or not: models have natural ones too. How far it is smaller "
        "than those of other classes says which it may be."
    )
