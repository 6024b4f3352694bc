"""What no single key of `update` can tell: models that can be exchanged, and measures that can be taken."""

from collections.abc import Iterator

from redoubt.policy.problems import Wrong
from redoubt.policy.sources import check_scheme, scheme_of
from redoubt.records import Policy


def check_update(policy: Policy) -> Iterator[Wrong]:
    """Everything about a well-formed update section that cannot be meant."""
    update = policy.update
    if update is None:
        return
    scheme = scheme_of(policy.model.source)
    if scheme not in ("torch", "onnx", "sklearn"):
        yield (
            ("update",),
            f"a source of {scheme}: has no file of weights that a candidate could replace",
            "remove update, or give the model as a file: torch:, onnx:, sklearn:",
        )
    if update.held_out is not None:
        found = check_scheme(update.held_out.source, "data")
        if found:
            yield ("update", "held_out", "source"), *found
        elif policy.data.train is not None and update.held_out == policy.data.train:
            yield (
                ("update", "held_out"),
                "held_out is what the model was trained on, on which every candidate looks alike",
                "name data that nobody has trained on, or remove held_out to take data.test",
            )
    if policy.guard is not None and policy.guard.demand is not None:
        yield (
            ("update",),
            "guard.demand asks for evidence about each model, and a candidate has none yet",
            "remove update, and put a new model in force with redoubt assess, attest and guard reload",
        )
    if policy.model.signature is not None and policy.model.signature.of is not None:
        yield (
            ("update",),
            "model.signature is about a folder, and a candidate is one file",
            "sign the model's file alone, and remove 'of'; a candidate then brings its own signature as FILE.sig",
        )
    keeps = policy.guard.record.keep if policy.guard is not None else ()
    for at, bound in enumerate(update.bounds):
        if bound.measure == "stored_changes" and "input" not in keeps:
            yield (
                ("update", "bounds", at),
                "stored_changes compares with stored answers, and no past inputs are kept to ask again",
                "add 'input' to guard.record.keep, or remove the bound",
            )
        if bound.measure in ("stored_changes",) and update.queries == 0:
            yield ("update", "bounds", at), "stored_changes needs past queries", "remove queries: 0, or the bound"
