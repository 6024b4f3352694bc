"""A first policy for a model, commented, for its owner to complete."""

import json
import math
import re
from collections.abc import Sequence
from typing import Literal

from redoubt.policy.sources import gives_gradients, scheme_of

CHANGE = "CHANGE THIS"
_WIDTH = 100


def draft(
    system: str,
    source: str,
    *,
    weights: str | None = None,
    shape: tuple[int, ...] | None = None,
    classes: int | None = None,
    outputs: Literal["logits", "probabilities"] = "logits",
    notes: Sequence[str] = (),
    train: str | None = None,
    test: str | None = None,
    ledger: str | None = None,
) -> str:
    """The text of a sound policy.  What is not known stands there as a guess, under a comment with `CHANGE THIS`.

    What can be required only with data that are not known stands there as comments, which are sound once the `# ` is
    removed.

    Args:
        system: any text; what a name may not hold is replaced.
        source: of the model, as `model.source`.
        weights: its weights file, if it has one.
        shape: of one input; None if unknown.
        classes: None if unknown.
        outputs: what the model returns.
        notes: plain sentences on what was found, put into the text as comments.
        train: what the model was trained on, as `data.train`; None if unknown.
        test: as `data.test`; None if unknown.
        ledger: the privacy ledger of its training; None if there is none.
    """
    image = shape is None or len(shape) == 3
    lines = [
        "# What this model must withstand.",
        "# `redoubt check` says in plain words what it means, `redoubt assess` plays it.",
        "redoubt: 1",
        f"system: {quoted(system_name(system))}",
        "",
        "model:",
        *_noted(notes),
        *_source(source),
        *([f"  weights: {quoted(weights)}"] if weights is not None else []),
        "  input:",
        *_shape(shape),
        f"    # {CHANGE} if inputs have other values: the lowest and highest before any normalisation.",
        "    range: [0, 1]",
        "    # If the model was trained on normalised inputs, say how, one number or one per channel:",
        "    # mean: [0.5]",
        "    # std: [0.5]",
        *_classes(classes),
        "  # `logits`, or `probabilities` if the model ends in a softmax.",
        f"  outputs: {outputs}",
        "",
        "data:",
        *_test(test, "images:data/test" if image else "csv:data/test.csv"),
        *_train(train, "images:data/train" if image else "csv:data/train.csv"),
        "",
        "adversaries:",
        *_adversary(source),
        "",
        "requirements:",
        *_requirements(shape, source),
        *_membership(source, known=train is not None),
        *_guarantee(source, ledger),
        "",
        *_guard(),
    ]
    return "\n".join(lines) + "\n"


def system_name(text: str) -> str:
    """A name that the policy language accepts, as near to the text as can be.

    >>> system_name("my model (2)")
    'my-model-2'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:64] or "my-system"


def quoted(text: str) -> str:
    """The text as a YAML scalar: bare where that is safe.

    >>> quoted("torch:model:build"), quoted("my model"), quoted("null")
    ('torch:model:build', '"my model"', '"null"')
    """
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*(:[A-Za-z0-9_./-]+)*", text) and not _means_something_else(text):
        return text
    return json.dumps(text, ensure_ascii=False)


def _means_something_else(text: str) -> bool:
    return text.lower() in ("null", "true", "false")


def _noted(notes: Sequence[str]) -> list[str]:
    """Comments, wrapped, each on lines of its own, without what could end a comment."""
    found = []
    for note in notes:
        line = ""
        for word in "".join(char if char.isprintable() else " " for char in note).split():
            if line and len(line) + len(word) > _WIDTH:
                found.append(line)
                line = ""
            line += f" {word}"
        found.append(line)
    return [f"  #{line}" for line in found if line]


def _source(source: str) -> list[str]:
    lines = [f"  source: {quoted(source)}"]
    if scheme_of(source) != "torch":
        return lines
    return [
        f"  # {CHANGE}: the Python function without arguments that builds the model, as torch:<module>:<function>.",
        "  # Modules are looked for in this file's folder first.",
        *lines,
    ]


def _shape(shape: tuple[int, ...] | None) -> list[str]:
    if shape is not None:
        return [f"    shape: [{', '.join(map(str, shape))}]"]
    return [
        f"    # {CHANGE}: the model file does not tell. One input without the batch: [channels, height, width] for",
        "    # images, [features] for tables; in Python, x[0].shape of a batch x that the model takes.",
        "    shape: [1, 28, 28]",
    ]


def _classes(classes: int | None) -> list[str]:
    if classes is not None:
        return [f"  classes: {classes}"]
    return [
        f"  # {CHANGE}: the model file does not tell. In Python, model(x).shape[1] for a batch x that the model takes.",
        "  classes: 10",
    ]


def _test(test: str | None, guess: str) -> list[str]:
    lines = [
        "  test:",
        f"    source: {quoted(test or guess)}",
        "    # As many of each class as possible. More examples tell more, and take longer.",
        "    take: 1000",
        "    seed: 0",
    ]
    if test is not None:
        return lines
    return [
        f"  # {CHANGE}: labelled examples that the model was not trained on, in one of these forms:",
        "  #   npz:<file with x and y> | csv:<file> | images:<folder with a folder per class> | idx:<folder>/test",
        *lines,
    ]


def _train(train: str | None, guess: str) -> list[str]:
    told = "  # What the model was trained on; the requirement who-was-in asks who can be recognised as one of these."
    return [told, f"  train: {quoted(train)}" if train is not None else f"  # train: {guess}"]


def _adversary(source: str) -> list[str]:
    if gives_gradients(source):
        return [
            "  # Somebody who has the model itself: the strongest there is, so the honest one to measure against.",
            "  insider:",
            "    knows: weights",
            "    budget: {passes: 4000}   # forward and backward passes and queries together, for each input",
        ]
    return [
        "  # Somebody who can only ask the model, and sees its scores.",
        "  customer:",
        "    observes: scores",
        "    budget: {queries: 5000}   # for each input",
    ]


def _name_of_adversary(source: str) -> str:
    return "insider" if gives_gradients(source) else "customer"


def _requirements(shape: tuple[int, ...] | None, source: str) -> list[str]:
    adversary = _name_of_adversary(source)
    lines = [
        "  - id: small-noise",
        "    game: evasion",
        f"    adversary: {adversary}",
        "    # Every value may move by 8/255 of the range: hardly visible in a picture.",
        "    within: {norm: linf, radius: 0.0314}",
        "    require: robust_accuracy >= 0.5",
    ]
    if shape is None or len(shape) == 3:
        small = math.inf if shape is None else min(shape[1:])
        lines += [
            "  - id: turn-and-shift",
            "    game: evasion",
            f"    adversary: {adversary}",
            f"    within: {{rotation: 15 deg{', translation: 2 px' if small > 2 else ''}}}",
            "    require: robust_accuracy >= 0.8",
        ]
    return lines


def _membership(source: str, *, known: bool) -> list[str]:
    """Who was in the training data: takes `data.train`."""
    trainable = scheme_of(source) in ("torch", "sklearn")
    lines = [
        "- id: who-was-in",
        "  game: membership",
        f"  adversary: {_name_of_adversary(source)}",
        "  require: tpr_at_fpr_0.01 <= 0.03",
        *([] if trainable else ["  strategies: [loss-threshold, label-noise]"]),
    ]
    remark = (
        "How many of data.train are recognised at one false alarm in a hundred. At 0.1 % it takes 4,380 others."
        if trainable
        else "Stronger strategies train shadow models, and this source does not tell what to train: see shadows."
    )
    return _optional(lines, remark, known=known, missing="Remove the '# ' if data has a train.")


def _guarantee(source: str, ledger: str | None) -> list[str]:
    """What the training promised: takes the ledger that it wrote."""
    lines = [
        "- id: guarantee",
        "  game: privacy",
        f"  adversary: {_name_of_adversary(source)}",
        "  require: epsilon <= 3 at delta 1e-5   # delta: far below one over the number of records",
        f"  ledger: {quoted(ledger or 'ledger.json')}",
    ]
    remark = "What nobody can learn of a record, whatever they try; see redoubt privacy report."
    return _optional(
        lines, remark, known=ledger is not None, missing="Remove the '# ' if the model was trained privately."
    )


def _optional(lines: Sequence[str], remark: str, *, known: bool, missing: str) -> list[str]:
    if known:
        return [f"  {lines[0]}", f"    # {remark}", *(f"  {line}" for line in lines[1:])]
    return [f"  # {remark}", f"  # {missing}", *(f"  # {line}" for line in lines)]


def _guard() -> list[str]:
    """A guard, as comments: who may ask is nothing that a model file can tell."""
    return [
        "# Remove the '#' to serve the model behind a guard: redoubt guard.",
        "# guard:",
        "#   identify: {keys: keys.db}   # made by redoubt keys add",
        "#   tiers:",
        "#     public: {observes: label, queries_per_day: 1000}",
        "#   admit:   # all must be true of a query, and unknown is false",
        '#     - {name: not probing, rule: "signals.similar_queries < 25", otherwise: lock}',
        "#   record: {log: audit/}",
    ]
