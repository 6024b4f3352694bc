"""Where tensors can be seen, and exchanged, inside a torch module while it computes.

A site is a tensor that goes into or comes out of a call of a submodule.  Nobody marks anything: hooks find the sites,
in the order in which they are computed.  What a module does between two sites, inline in its `forward`, lies in the gap
between them; all that a module without submodules does is one gap.

Not seen: tensors passed by keyword, and those whose first dimension is not the batch.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn

Edit: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Site:
    """A tensor of a forward pass.

    Attributes:
        module: name of the submodule; empty for the whole.
        call: which of its calls, from 0.
        side: whether it goes in or comes out.
        index: which of the positional arguments, or of the tensors returned.
    """

    module: str
    call: int
    side: Literal["in", "out"]
    index: int = 0

    def __str__(self) -> str:
        again = f" (call {self.call + 1})" if self.call else ""
        return f"{self.module or 'the model'}{again} {self.side}" + (f" {self.index}" if self.index else "")


class Listener:
    """What is seen during one forward pass.

    Attributes:
        seen: the sites of `rows` rows, in the order they were computed, as whoever comes later gets them.
        same: further sites of tensors already seen, and where those were first seen.
    """

    def __init__(self, rows: int, edits: Mapping[Site, Edit]) -> None:
        self.seen: dict[Site, Tensor] = {}
        self.same: dict[Site, Site] = {}
        self._rows, self._edits = rows, edits
        self._calls: dict[str, int] = {}
        self._known: dict[tuple[int, int], Site] = {}  # by identity and version: layers may work in place
        self._alive: list[Tensor] = []  # identities are those of living objects only

    def enter(self, name: str) -> int:
        """A call begins; which one it is."""
        call = self._calls.get(name, 0)
        self._calls[name] = call + 1
        return call

    def hear(self, site: Site, tensor: object) -> object:
        """Note the tensor, unless it is known from another site; what to go on with in its stead."""
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            return tensor
        if tensor.dim() == 0 or len(tensor) != self._rows:
            return tensor
        key = (id(tensor), tensor._version)
        if key in self._known:
            self.same[site] = self._known[key]
            return self.seen[self._known[key]]
        edit = self._edits.get(site)
        after = tensor if edit is None else edit(tensor)
        self._alive += [tensor, after]
        self._known[key] = self._known[(id(after), after._version)] = site
        self.seen[site] = after
        return after


@contextmanager
def listening(module: nn.Module, rows: int, edits: Mapping[Site, Edit]) -> Iterator[Listener]:
    """Listen to the forward passes of `module` over `rows` rows, and exchange tensors as `edits` say.

    One pass at a time; hooks are gone afterwards.
    """
    listener = Listener(rows, edits)
    stack: list[tuple[str, int]] = []

    def before(name: str) -> Callable[[nn.Module, tuple[object, ...]], tuple[object, ...]]:
        def hook(_module: nn.Module, inputs: tuple[object, ...]) -> tuple[object, ...]:
            call = listener.enter(name)
            stack.append((name, call))
            return tuple(listener.hear(Site(name, call, "in", at), one) for at, one in enumerate(inputs))

        return hook

    def after(_module: nn.Module, _inputs: object, output: object) -> object:
        name, call = stack.pop()
        if isinstance(output, tuple):
            heard = [listener.hear(Site(name, call, "out", at), one) for at, one in enumerate(output)]
            kind: Any = type(output)
            return kind(*heard) if hasattr(output, "_fields") else tuple(heard)
        return listener.hear(Site(name, call, "out"), output)

    handles = []
    try:
        for name, part in module.named_modules():
            handles.append(part.register_forward_pre_hook(before(name)))
            handles.append(part.register_forward_hook(after))
        yield listener
    finally:
        for handle in handles:
            handle.remove()
