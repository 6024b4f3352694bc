"""The adversary's handle on a model: what it may see, what it may afford, and what it has spent, per example."""

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from redoubt.models.base import Answer, Differentiable, Face, Model, Scored
from redoubt.models.gradients import gradient_of
from redoubt.models.leak import Leak
from redoubt.models.rewire import Bridge, Rewired, Trace, trace
from redoubt.models.sites import Edit, Site
from redoubt.records import Access, Budget, Fault, Found, Work

_RISE = 0.01  # of what a loss has risen: less is no rise


class AccessDenied(Fault):
    """A strategy asked for more than its adversary may see."""


class BudgetExceeded(Fault):
    """A strategy went on after an example's budget was spent."""


class Slope(NamedTuple):
    """Objective, its gradient, and the logits they come from.

    loss `[B]`, gradient `[B, *point.shape[1:]]`, logits `[B, K]`, all detached; suspicion `[B]` of a model with a
    detector, else None.
    """

    loss: Tensor
    gradient: Tensor
    logits: Tensor
    suspicion: Tensor | None = None

    def fooled(self, y: Tensor) -> Tensor:
        """Bool `[B]`: whether the point was answered, and wrongly."""
        return Scored(self.logits, self.suspicion).fooled(y)

    def only(self, rows: Tensor) -> "Slope":
        """Of some rows: int64 indices, or bool `[B]`."""
        suspicion = None if self.suspicion is None else self.suspicion[rows]
        return Slope(self.loss[rows], self.gradient[rows], self.logits[rows], suspicion)


@dataclass
class Meter:
    """What was spent on, and seen of, each of N examples.  All tensors are `[N]`, on the CPU.

    `steps` counts gradient steps; `vanished` and `nan` those of them whose gradient was zero or not finite in every
    coordinate or any; `first_loss` and `best_loss` are the objective at the first step and the best so far;
    `last_rise` is the step, from 1, that last raised the best by more than a hundredth of all it had risen.
    `notes` are what a strategy has to say of the model, for the evidence.
    """

    forwards: Tensor
    backwards: Tensor
    queries: Tensor
    refusals: Tensor
    steps: Tensor
    vanished: Tensor
    nan: Tensor
    first_loss: Tensor
    best_loss: Tensor
    last_rise: Tensor
    notes: list[Found] = field(default_factory=list)

    @classmethod
    def of(cls, size: int) -> "Meter":
        """A meter at zero for `size` examples."""
        counts = [torch.zeros(size, dtype=torch.int64) for _ in range(8)]
        forwards, backwards, queries, refusals, steps, vanished, nan, last_rise = counts
        return cls(
            forwards,
            backwards,
            queries,
            refusals,
            steps,
            vanished,
            nan,
            first_loss=torch.full((size,), torch.nan),
            best_loss=torch.full((size,), -torch.inf),
            last_rise=last_rise,
        )

    @property
    def passes(self) -> Tensor:
        """Passes of every kind, int64 `[N]`."""
        return self.forwards + self.backwards + self.queries

    def work(self, row: int | None = None) -> Work:
        """The work on one example, or on all."""
        rows = slice(None) if row is None else slice(row, row + 1)
        return Work(
            forwards=int(self.forwards[rows].sum()),
            backwards=int(self.backwards[rows].sum()),
            queries=int(self.queries[rows].sum()),
            refusals=int(self.refusals[rows].sum()),
        )


class Metered:
    """A model as one adversary holds it, for a batch of B examples.

    Every call must pass B inputs, or a multiple k * B (all examples, k times over, example-major order kept in each
    copy); each example is billed for its own. Use `only` to go on with some of the examples.

    Raises (from every verb):
        AccessDenied: the adversary may not see that.
        BudgetExceeded: an example's budget would be overdrawn; nothing was asked.
    """

    def __init__(self, model: Model, access: Access, budget: Budget, size: int) -> None:
        self._model = model
        self._access = min(access, model.access)
        self._budget = budget
        self._rows = torch.arange(size)
        self._everyone = True
        self._leak = 0.0
        self.meter = Meter.of(size)

    @property
    def face(self) -> Face:
        """The model's face, which is public."""
        return self._model.face

    @property
    def access(self) -> Access:
        """The most that this handle shows."""
        return self._access

    def __len__(self) -> int:
        return len(self._rows)

    def only(self, rows: Tensor) -> "Metered":
        """The same handle for some of its examples.  `rows`: int64 indices, or bool `[B]`."""
        part = copy.copy(self)
        part._rows = self._rows[rows.cpu()]
        part._everyone = False
        return part

    def leaking(self, share: float) -> "Metered":
        """The same handle on the same examples, whose slopes see past rectified units that are off: see `Leak`."""
        part = copy.copy(self)
        part._leak = share
        return part

    def query(self, x: Tensor) -> Answer:
        """Ask through the public face.  An adversary who sees labels only gets no scores."""
        self._bill(x, queries=1)
        answer = self._model.query(x)
        self._add(self.meter.refusals, answer.refused.cpu().long())
        return answer if self._access > Access.LABEL else dataclasses.replace(answer, scores=None)

    def logits(self, x: Tensor) -> Tensor:
        """Logits `[B, K]` without gradient.  Needs GRADIENTS, as whoever has the weights has the logits."""
        return self.scored(x).logits

    def scored(self, x: Tensor) -> Scored:
        """As `logits`, with the suspicion of a detector if the model has one."""
        model = self._differentiable()
        self._bill(x, forwards=1)
        with torch.no_grad():
            return model.scored(x)

    def slope(
        self,
        point: Tensor,
        objective: Callable[[Tensor], Tensor],
        render: Callable[[Tensor], Tensor] | None = None,
        joint: Callable[[Scored], Tensor] | None = None,
    ) -> Slope:
        """The objective's gradient at `point`: one forward and one backward pass of each example.

        Args:
            point: `[B, ...]`, in the coordinates of a perturbation set.
            objective: logits `[B, K]` to a loss `[B]`; each row depends on its own logits only.
            render: point to model input `[B, *face.shape]`; the identity when absent.
            joint: an objective of logits and suspicion, in the objective's stead.
        """
        model = self._differentiable()
        self._bill(point, forwards=1, backwards=1)
        leaf = point.detach().requires_grad_()
        with torch.enable_grad():
            image = leaf if render is None else render(leaf)
            with Leak(self._leak) if self._leak else contextlib.nullcontext():
                scored = model.scored(image)
            loss = objective(scored.logits) if joint is None else joint(scored)
            gradient = gradient_of(loss.sum(), leaf)
        suspicion = None if scored.suspicion is None else scored.suspicion.detach()
        if suspicion is not None:
            self._add(self.meter.refusals, scored.refused.cpu().long())
        return self._observe(Slope(loss.detach(), gradient, scored.logits.detach(), suspicion))

    def rewired(self, bridges: Sequence[Bridge], watch: Sequence[Site] = ()) -> "Metered":
        """The same handle on the same examples, its gradients going over bridges; answers stay the model's own.

        Args:
            bridges: see `Bridge`.
            watch: tensors inside the model that `scored` shows.
        """
        part = copy.copy(self)
        part._model = Rewired(self._differentiable(), bridges, watch)
        return part

    def trace(self, x: Tensor, edits: Mapping[Site, Edit] | None = None, seed: int | None = None) -> Trace:
        """A forward pass laid open, with a graph if autograd is enabled.

        Billed as one forward pass, and one backward pass with a graph: gradients from each site to the next add up to
        one.

        Args:
            x: inputs `[B, *face.shape]`.
            edits: tensors to exchange on the way.
            seed: of the model's own randomness in this pass.
        """
        model = self._differentiable()
        self._bill(x, forwards=1, backwards=int(torch.is_grad_enabled()))
        return trace(model, x, edits or {}, seed)

    @property
    def spent(self) -> int:
        """The most passes billed to any of its examples so far."""
        return int(self.meter.passes[self._rows].max()) if len(self) else 0

    # ── book-keeping ─────────────────────────────────────────────────────────────────────────────────────────────

    def _differentiable(self) -> Differentiable:
        if self._access < Access.GRADIENTS or not isinstance(self._model, Differentiable):
            raise AccessDenied(f"this adversary sees {self._access.name}, not GRADIENTS")
        return self._model

    def _bill(self, x: Tensor, forwards: int = 0, backwards: int = 0, queries: int = 0) -> None:
        copies, odd = divmod(len(x), max(len(self._rows), 1))
        if odd:
            raise Fault(
                f"{len(x)} inputs for {len(self._rows)} examples: pass each example equally often, or use only()"
            )
        meter, budget = self.meter, self._budget
        for limit, spent, cost in (
            (budget.passes, meter.passes, (forwards + backwards + queries) * copies),
            (budget.queries, meter.queries, queries * copies),
        ):
            if limit is not None and cost and len(self) and int(spent[self._rows].max()) + cost > limit:
                raise BudgetExceeded(
                    f"an example has {limit - int(spent[self._rows].max())} left, {cost} were asked for"
                )
        for counter, amount in ((meter.forwards, forwards), (meter.backwards, backwards), (meter.queries, queries)):
            if amount:
                self._add(counter, amount * copies)

    def _add(self, counter: Tensor, amount: int | Tensor) -> None:
        if isinstance(amount, Tensor):
            amount = amount.view(-1, len(self._rows)).sum(dim=0) if len(self._rows) else amount
        if self._everyone:
            counter += amount
        else:
            counter[self._rows] += amount

    def _observe(self, slope: Slope) -> Slope:
        """Keep what tells a failed attack from a robust model; hand on a gradient without NaN or infinity."""
        copies = len(slope.loss) // max(len(self._rows), 1)
        # The sum of magnitudes tells all three cases in one pass over the gradient: 0, a number, or not finite.
        size = slope.gradient.flatten(1).abs().sum(dim=1).cpu()
        loss = slope.loss.cpu().float().view(copies, -1).amax(dim=0)
        meter = self.meter
        rows = slice(None) if self._everyone else self._rows  # a view costs nothing, an index a copy
        self._add(meter.steps, copies)
        first = meter.first_loss[rows]
        if first.isnan().any():
            meter.first_loss[rows] = torch.where(first.isnan(), loss, first)
        best = meter.best_loss[rows]
        rose = loss - best > _RISE * (best - meter.first_loss[rows])
        meter.last_rise[rows] = torch.where(rose, meter.steps[rows], meter.last_rise[rows])
        meter.best_loss[rows] = torch.fmax(best, loss)
        if len(size) and float(size.amin()) > 0 and float(size.amax()) < torch.inf:  # NaN fails both
            return slope
        self._add(meter.vanished, (size == 0).long())
        broken = ~torch.isfinite(size)
        self._add(meter.nan, broken.long())
        if broken.any():
            return slope._replace(gradient=slope.gradient.nan_to_num(0.0, 0.0, 0.0))
        return slope
