"""Torch modules as shadow models, trained side by side as one batched model where that can be done.

Small models leave a processor idle between many small calls.  So the weights of G modules are stacked, `vmap` turns
each layer into one batched product, and one optimizer steps all of them: Adam and SGD act on each weight by itself, so
that every model takes the course that it would have taken alone.  Modules that cannot be mapped so (batch normalisation
keeps running means; some layers draw or branch) are trained one by one, to the same results up to rounding.
"""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn.modules.batchnorm import _NormBase

from redoubt.models.adapter import Adapter
from redoubt.models.locate import first_line
from redoubt.records import ModelError
from redoubt.records.canonical import Json
from redoubt.records.training import TrainingRecipe

_ASK = 512  # records asked about at once


@dataclass(frozen=True)
class TorchTrainer:
    """Trains what a factory builds.

    Attributes:
        build: from a seed to a module with fresh weights.
        adapter: what stands before and behind the module.
        recipe: the course.
        code: what the factory is, for digests.
        batched: whether models are trained side by side; None where that is to be found out.
    """

    build: Callable[[int], nn.Module]
    adapter: Adapter
    recipe: TrainingRecipe
    code: Json
    batched: bool | None = None

    def describe(self) -> Json:
        """See `Trainer`."""
        course = self.recipe.model_dump(exclude={"models", "parameters"})
        return {"kind": "torch", "code": self.code, "face": self.adapter.describe(), "course": course}

    def scores(self, x: Tensor, y: Tensor, inside: Tensor, seeds: Sequence[int]) -> Tensor:
        """See `Trainer`."""
        modules = [self.build(seed).train().requires_grad_(True) for seed in seeds]
        rows = torch.stack([one.nonzero().squeeze(1) for one in inside])
        x = self.adapter.inward(x)
        with _training(), torch.enable_grad():
            together = can_be_batched(modules[0], x[:2]) if self.batched is None else self.batched
            train = self._side_by_side if together else self._one_by_one
            found = train(modules, x, y, rows, seeds)
        if not found.isfinite().all():
            raise ModelError("a shadow model's scores are not finite", remedy="lower `learning_rate` under shadows")
        return found

    def fit(self, x: Tensor, y: Tensor, seed: int) -> nn.Module:
        """One model, trained on all of N records, for who needs its gradients.

        Args:
            x: records `[N, *shape]` in the range of the face.
            y: labels, int64 `[N]`.
            seed: of its initial weights, order of batches and whatever else it draws.

        Returns:
            The module in evaluation mode.  It takes what `adapter.inward` makes of an input.

        Raises:
            ModelError: training fails.
        """
        module = self.build(seed).train().requires_grad_(True)
        with _training(), torch.enable_grad():
            self._train(module, self.adapter.inward(x), y, torch.arange(len(y)), seed)
        return module

    # ── two ways, one result ─────────────────────────────────────────────────────────────────────────────────────

    def _one_by_one(self, modules: list[nn.Module], x: Tensor, y: Tensor, rows: Tensor, seeds: Sequence[int]) -> Tensor:
        found = []
        for module, mine, seed in zip(modules, rows, seeds, strict=True):
            self._train(module, x, y, mine, seed)
            with torch.no_grad():
                found.append(torch.cat([self._logits(module(part)) for part in torch.split(x, _ASK)]))
        return torch.stack(found)

    def _train(self, module: nn.Module, x: Tensor, y: Tensor, mine: Tensor, seed: int) -> None:
        """Train it on some rows, and leave it in evaluation mode."""
        optimizer = self._optimizer(list(module.parameters()))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for rate, places in self._steps(len(mine), [seed]):
                batch = mine[places[0]]
                _set_rate(optimizer, rate)
                optimizer.zero_grad()
                torch.autograd.backward(F.cross_entropy(self._logits(module(x[batch])), y[batch]))
                optimizer.step()
        module.eval()

    def _side_by_side(
        self, modules: list[nn.Module], x: Tensor, y: Tensor, rows: Tensor, seeds: Sequence[int]
    ) -> Tensor:
        weights, buffers = stack_module_state(modules)
        frame = copy.deepcopy(modules[0]).to("meta")

        def ask(at: dict[str, Tensor], kept: dict[str, Tensor], given: Tensor) -> Tensor:
            return self._logits(functional_call(frame, (at, kept), (given,)))

        each = torch.func.vmap(ask, randomness="different")
        everyone = torch.func.vmap(ask, in_dims=(0, 0, None), randomness="different")
        optimizer = self._optimizer(list(weights.values()))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds[0])
            for rate, places in self._steps(rows.shape[1], seeds):
                batch = rows.gather(1, places)
                _set_rate(optimizer, rate)
                optimizer.zero_grad()
                logits = each(weights, buffers, x[batch])
                lost = F.cross_entropy(logits.flatten(0, 1), y[batch].flatten(), reduction="sum") / batch.shape[1]
                torch.autograd.backward(lost)
                optimizer.step()
        frame.eval()
        with torch.no_grad():
            return torch.cat([everyone(weights, buffers, part) for part in torch.split(x, _ASK)], dim=1)

    def _steps(self, size: int, seeds: Sequence[int]) -> Iterator[tuple[float, Tensor]]:
        """Learning rate and places in each model's records, int64 `[G, B]`, step by step."""
        recipe = self.recipe
        draws = [Generator().manual_seed(seed) for seed in seeds]
        each = math.ceil(size / recipe.batch)
        for epoch in range(recipe.epochs):
            order = torch.stack([torch.randperm(size, generator=rng) for rng in draws])
            for step, places in enumerate(torch.split(order, recipe.batch, dim=1)):
                done = (epoch * each + step) / (recipe.epochs * each)
                yield recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done)), places

    def _optimizer(self, weights: list[Any]) -> torch.optim.Optimizer:
        recipe = self.recipe
        if recipe.optimizer == "sgd":
            return torch.optim.SGD(weights, lr=recipe.learning_rate, momentum=0.9, weight_decay=recipe.weight_decay)
        return torch.optim.Adam(weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)

    def _logits(self, raw: object) -> Tensor:
        """Of a module with a detector, its logits alone."""
        return self.adapter.outward(raw[0] if isinstance(raw, tuple) else raw)


def can_be_batched(module: nn.Module, x: Tensor) -> bool:
    """Whether modules like this one can be trained side by side: nothing in it keeps running means, and `vmap` maps it.

    Convolutions are left out: mapped, they become grouped ones, which processors compute more slowly than one by one.
    """
    slow = (_NormBase, nn.modules.conv._ConvNd)
    if any(isinstance(part, slow) for part in module.modules()):
        return False
    try:
        weights, buffers = stack_module_state([module, copy.deepcopy(module)])
        frame = copy.deepcopy(module).to("meta")
        torch.func.vmap(lambda at, kept: functional_call(frame, (at, kept), (x,)), randomness="different")(
            weights, buffers
        )
    except Exception:  # vmap raises whatever an operation that it cannot map leads to
        return False
    return True


@contextlib.contextmanager
def _training() -> Iterator[None]:
    """The wall to the module's own code: whatever it raises becomes a `ModelError`."""
    try:
        yield
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise ModelError(
            f"a shadow model cannot be trained: {first_line(error)}",
            remedy="see that the factory builds a module that can be trained on this data",
        ) from error


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
