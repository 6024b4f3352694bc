"""What cannot be meant in a requirement of the evasion game: sets that do not fit, strategies that cannot be played."""

import math
from collections.abc import Iterator

from redoubt.policy.document import Key
from redoubt.policy.problems import Wrong
from redoubt.policy.strategies import refusal
from redoubt.records import (
    Adversary,
    EvasionRequirement,
    InputFace,
    Norm,
    Policy,
    Within,
    WithinAnyOf,
    WithinCorruptions,
    WithinNorm,
    WithinPatch,
    WithinTable,
    WithinTurn,
)


def check_moves(requirement: EvasionRequirement, policy: Policy) -> Iterator[Wrong]:
    """What is wrong with the set, by its path within the requirement, whoever the adversary is."""
    for path, what, remedy in _set(requirement.within, policy.model.input):
        yield ("within", *path), what, remedy
    if requirement.require.measure == "certified_accuracy":
        for path, what, remedy in _provable(requirement.within):
            yield ("within", *path), what, remedy


def check_strategies(requirement: EvasionRequirement, adversary: Adversary, policy: Policy) -> Iterator[Wrong]:
    """Named strategies that this adversary cannot play in this set against this model."""
    model = policy.model
    within, named = requirement.within, requirement.strategies or ()
    refused = {name: refusal(name, adversary, within, model) for name in named}
    for number, name in enumerate(named):
        found = refused[name]
        if found:
            yield ("strategies", number), *found
    if not named or any(refused.values()) or not isinstance(within, WithinAnyOf):
        return
    for index, part in enumerate(within.any_of):
        if all(refusal(name, adversary, part, model) for name in named):
            yield (
                ("within", "any_of", index),
                f"none of the named strategies ({', '.join(named)}) can move in this set",
                "add random under strategies, which moves in every set",
            )


def _provable(within: Within) -> Iterator[Wrong]:
    if isinstance(within, WithinAnyOf):
        for index, part in enumerate(within.any_of):
            for path, what, remedy in _provable(part):
                yield ("any_of", index, *path), what, remedy
    elif not isinstance(within, WithinNorm):
        yield (), "nothing can be proved in this set", "require robust_accuracy, or write a norm: linf, l2 or l1"
    elif within.norm is Norm.L0:
        yield ("norm",), "nothing can be proved of l0 balls", "require robust_accuracy, or write linf, l2 or l1"


def _set(within: Within, face: InputFace) -> Iterator[Wrong]:
    if isinstance(within, WithinAnyOf):
        for index, part in enumerate(within.any_of):
            for path, what, remedy in _set(part, face):
                yield ("any_of", index, *path), what, remedy
    elif isinstance(within, WithinNorm):
        yield from _ball(within, face)
    elif isinstance(within, WithinTable):
        yield from _table(within, face)
    elif isinstance(within, WithinCorruptions):
        yield from _corruptions(within, face)
    elif isinstance(within, WithinPatch):
        yield from _patch(within, face)
    else:
        yield from _turn(within, face)


def _ball(within: WithinNorm, face: InputFace) -> Iterator[Wrong]:
    low, high = face.range
    span, size = high - low, math.prod(face.shape)
    if within.norm is Norm.L0:
        yield from _pixels(within, face)
        return
    most = span * {Norm.LINF: 1.0, Norm.L2: math.sqrt(size), Norm.L1: float(size)}[within.norm]
    if within.radius > most * (1 + 1e-9):
        remedy = "give the radius in the units of the input range"
        if within.norm is Norm.LINF and within.radius <= 255 and span < 255:
            remedy = f"if pixels of 0 to 255 were meant, write radius: {within.radius * span / 255:.4g}"
        yield (
            ("radius",),
            f"radius {within.radius:g} is outside the input range: inputs of {list(face.shape)} in "
            f"[{low:g}, {high:g}] are never farther apart than {most:.6g} in {within.norm}",
            remedy,
        )


def _table(within: WithinTable, face: InputFace) -> Iterator[Wrong]:
    if len(face.shape) != 1:
        yield (
            (),
            f"features are columns of a table; the inputs are {list(face.shape)}",
            "write shape: [columns] under model.input, or use a norm",
        )
        return
    low, high = face.range
    owners: dict[int, str] = {}
    for name, feature in within.features.items():
        here: tuple[Key, ...] = ("features", name)
        if feature.at[1] >= face.shape[0]:
            yield (
                (*here, "at"),
                f"{name} has column {feature.at[1]}, but inputs have {face.shape[0]} columns, counted from 0",
                f"write at most {face.shape[0] - 1}",
            )
        taken = next((owners[column] for column in feature.columns if column in owners), None)
        if taken is not None:
            yield (*here, "at"), f"{name} has a column that {taken} has already", "give each column to one feature"
        owners |= dict.fromkeys(feature.columns, name)
        if feature.kind == "category" and not low <= 0 < 1 <= high:
            yield (
                (*here, "kind"),
                f"a category's columns are 0 or 1, and inputs lie between {low:g} and {high:g}",
                "write a range that holds 0 and 1, or make it a number",
            )
        ends = feature.scale or face.range
        for key, value in (("low", feature.low), ("high", feature.high)):
            if value is not None and not ends[0] <= value <= ends[1]:
                yield (
                    (*here, key),
                    f"{name} cannot be {value:g}: the input range runs from {ends[0]:g} to {ends[1]:g} of its units",
                    "give scale: [low, high], what the ends of the input range mean"
                    if feature.scale is None
                    else f"write a value from {ends[0]:g} to {ends[1]:g}",
                )


def _pixels(within: WithinNorm, face: InputFace) -> Iterator[Wrong]:
    image = len(face.shape) == 3
    unit, most = ("pixels", math.prod(face.shape[1:])) if image else ("values", math.prod(face.shape))
    if not within.radius.is_integer():
        yield ("radius",), f"radius {within.radius:g}: l0 counts {unit}", f"write a whole number of {unit}"
    elif within.radius > most:
        remedy = f"write at most {most}"
        yield ("radius",), f"radius {within.radius:g}: inputs of {list(face.shape)} have {most} {unit}", remedy


def _turn(within: WithinTurn, face: InputFace) -> Iterator[Wrong]:
    if len(face.shape) != 3:
        yield (
            (),
            f"rotation and translation need images [channels, height, width]; the inputs are {list(face.shape)}",
            "write the image's shape under model.input, or use a norm",
        )
    elif within.translation >= min(face.shape[1:]):
        yield (
            ("translation",),
            f"translation {within.translation:g} px moves an image of {face.shape[1]} x {face.shape[2]} pixels "
            "out of the frame",
            f"write less than {min(face.shape[1:])} px",
        )
    if within.then is not None:
        for path, what, remedy in _ball(within.then, face):
            yield ("then", *path), what, remedy


def _corruptions(within: WithinCorruptions, face: InputFace) -> Iterator[Wrong]:
    if len(face.shape) != 3:
        yield (
            (),
            f"corruptions need images [channels, height, width]; the inputs are {list(face.shape)}",
            "write the image's shape under model.input, or use a norm",
        )
    elif "saturation" in within.corruptions and face.shape[0] != 3:
        yield (
            ("corruptions", within.corruptions.index("saturation")),
            f"saturation needs images of three channels; the inputs have {face.shape[0]}",
            "leave saturation out",
        )


def _patch(within: WithinPatch, face: InputFace) -> Iterator[Wrong]:
    if len(face.shape) != 3:
        yield (
            (),
            f"a patch needs images [channels, height, width]; the inputs are {list(face.shape)}",
            "write the image's shape under model.input, or use a norm",
        )
        return
    side, room = math.sqrt(within.patch * math.prod(face.shape[1:])) * within.scale[1], min(face.shape[1:])
    if side > room:
        yield (
            ("scale",),
            f"at {within.scale[1]:g} times its size the patch has a side of {side:.3g} pixels, and the image of {room}",
            f"write at most {within.scale[1] * room / side:.3g}",
        )
