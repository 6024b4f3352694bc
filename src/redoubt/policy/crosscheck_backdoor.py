"""What cannot be meant in a requirement of the backdoor game."""

from collections.abc import Iterator

from redoubt.policy.problems import Wrong
from redoubt.policy.sources import gives_gradients, scheme_of
from redoubt.records import Access, Adversary, BackdoorRequirement, Policy


def check_backdoor(requirement: BackdoorRequirement, adversary: Adversary, policy: Policy) -> Iterator[Wrong]:
    """Everything wrong, by its path within the requirement."""
    shape, classes = policy.model.input.shape, policy.model.classes
    if len(shape) != 3:
        yield (
            ("within", "patch"),
            f"a trigger is laid on images [channels, height, width]; the inputs are {list(shape)}",
            "leave the requirement out",
        )
    elif round(requirement.within.patch * shape[1] * shape[2], 9) < 1:
        yield (
            ("within", "patch"),
            f"{100 * requirement.within.patch:g} % of an image of {shape[1]} x {shape[2]} is less than a pixel",
            f"write {{patch: {100 / (shape[1] * shape[2]):.3g} %}} or more",
        )
    for number, target in enumerate(requirement.targets or ()):
        if target >= classes:
            yield (
                ("targets", number),
                f"there is no class {target}: the model tells {classes} apart, counted from 0",
                f"write classes from 0 to {classes - 1}",
            )
    if adversary.access < Access.GRADIENTS:
        yield (
            ("adversary",),
            "a trigger is searched by gradients, and this adversary has not the weights",
            "name an adversary who has: {knows: weights}",
        )
    if not gives_gradients(policy.model.source):
        yield (
            ("game",),
            f"a source of {scheme_of(policy.model.source)}: gives no gradients, by which triggers are searched",
            "give the model itself: torch:, onnx: or sklearn:",
        )
