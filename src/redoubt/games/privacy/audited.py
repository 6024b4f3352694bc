"""Somebody's own training, as an audit takes it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from redoubt.attacks.canary.plant import Canaries
from redoubt.attacks.canary.traces import loss_traces, module_traces
from redoubt.models.importing import import_named, named_parts
from redoubt.models.locate import first_line
from redoubt.records import ModelError, PolicyError


@dataclass(frozen=True)
class Audited:
    """What to train, on what, and which canaries to plant.

    Attributes:
        train: from records `[N, *shape]` and labels `[N]` to the trained module; or, where each step is released, as in
            federated learning, to copies of the module before the first step and after each, which shows far more.
            Modules map `[B, *shape]` to logits `[B, K]`.
        x: records, float32 `[N, *shape]`.
        y: int64 `[N]`.
        canaries: see `redoubt.attacks.canary`.
    """

    train: Callable[[Tensor, Tensor], nn.Module | Sequence[nn.Module]]
    x: Tensor
    y: Tensor
    canaries: Canaries

    def traces(self, x: Tensor, y: Tensor) -> Tensor:
        """Train, and see of each canary what was released: `[m, S]`.

        Raises:
            ModelError: the training fails, or gives no module.
        """
        try:
            given = self.train(x, y)
        except Exception as error:  # the wall to somebody else's code, which may raise anything
            raise ModelError(f"the audited training fails: {first_line(error)}", remedy="mend it") from error
        if isinstance(given, nn.Module):
            return loss_traces(given, self.canaries)
        if not isinstance(given, Sequence) or not all(isinstance(each, nn.Module) for each in given):
            raise ModelError(
                f"the audited training gave a {type(given).__name__}", remedy="return a module, or one for each step"
            )
        return module_traces(given, self.canaries)

    def with_one_canary(self) -> "Audited":
        """The same with the first canary alone."""
        first = Canaries(self.canaries.x[:1], self.canaries.y[:1], self.canaries.kind)
        return replace(self, canaries=first)


def audited_from(source: str, base: Path) -> Audited:
    """What `<module>:<function>` returns; the module is looked for in `base` first, and is trusted as code.

    Raises:
        PolicyError: not of that form.
        ModelError: there is no such function, it fails, or it returns something else.
    """
    try:
        module, name = named_parts(source, "audit", "function")
    except PolicyError as error:
        raise PolicyError(
            f"'{source}' is not '<module>:<function>'", remedy="write for example 'training:audited'"
        ) from error
    function = import_named(module, name, base)
    try:
        made = function()
    except Exception as error:  # as above
        raise ModelError(f"'{source}' fails: {first_line(error)}", remedy="mend it") from error
    if not isinstance(made, Audited):
        raise ModelError(f"'{source}' returns a {type(made).__name__}", remedy="return a redoubt.games.privacy.Audited")
    return made
