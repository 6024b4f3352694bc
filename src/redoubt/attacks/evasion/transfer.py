"""Transfer: steal a substitute by queries, follow its gradients, and ask for what fools it (Papernot et al. 2017)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.attacks.evasion.losses import margin
from redoubt.attacks.evasion.standing import Standing, affordable_queries
from redoubt.attacks.evasion.substitute import Substitute
from redoubt.models.base import Face
from redoubt.models.meter import Metered
from redoubt.perturb.base import PerturbationSet
from redoubt.records import Access, Budget

_MOMENTUM = 0.9
_STEP = 0.25  # of the radius, at first; falls to a tenth of it


@dataclass(frozen=True)
class Transfer(EvasionAttack):
    """Teach a small network the model's answers, climb its margin inside the set, ask for the results, teach it those.

    Needs labels; learns from scores where they are shown.  Papernot et al. steal first and attack once.  Here the first
    questions are blends of the batch's own inputs, which teach where the classes meet; then each round's questions are
    the points that fool the substitute of the round before: they lie in the set, so any may end the search, and where
    they fail they tell most about the border.  One substitute serves the whole batch: B examples with q queries each
    teach it B * q answers, so the more examples are attacked together the less each one pays.  Later rounds climb for
    longer, and so submit with more confidence; the questions of one round begin at several random points and head for
    the likeliest wrong classes in turn (momentum as in Dong et al. 2018).

    Passes on the substitute are the adversary's own and are not billed.

    Does not cover: substitutes of the victim's own architecture or from public data; models so unlike a small network
    that nothing transfers; randomised models, whose answers it takes for truths.

    Attributes:
        queries: per example.
        blends: queries per example for blends, at most a fifth of what the budget buys.
        growth: questions of a round, as a share of those asked before it.
        steps: gradient steps on the substitute in the first round; three times as many in the last.
        lessons: training batches per round.
    """

    queries: int = 100
    blends: int = 8
    growth: float = 0.5
    steps: int = 10
    lessons: int = 100
    name: ClassVar[str] = "transfer"
    needs: ClassVar[Access] = Access.LABEL

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        standing = Standing(model, x, y, within)
        queries = affordable_queries(budget, self.queries)
        if queries < 1:
            return standing.points
        substitute = Substitute(model.face, x, y, rng)
        spent = min(self.blends, queries // 5)
        for _ in range(spent):
            blends = _blends(x, model.face, rng)
            substitute.hear(blends, model.query(blends))
        while spent < queries and len(standing):
            count = min(max(int(self.growth * spent), 1), queries - spent)
            substitute.learn(self.lessons)
            steps = int(self.steps * (1 + 2 * spent / queries))
            points = [_climb(standing, substitute, within, rank, steps, rng) for rank in range(count)]
            self._submit(standing, substitute, within, points)
            spent += count
        return standing.points

    def _submit(
        self, standing: Standing, substitute: Substitute, within: PerturbationSet, points: Sequence[Tensor]
    ) -> None:
        """Ask for k points `[S, ...]` of each example still standing, and hand the answers to the substitute."""
        many = len(points)
        whole = standing.x.repeat(many, *[1] * (standing.x.dim() - 1))
        inputs = within.render(whole, torch.cat(list(points)))
        answer = standing.model.query(inputs)
        substitute.hear(inputs, answer)
        asked = torch.cat(list(points)) if answer.asked is None else within.project(whole, answer.asked)
        asked = asked.view(many, len(standing), *asked.shape[1:])
        wrong = ((answer.labels != standing.y.repeat(many)) & ~answer.refused).view(many, -1)
        first = wrong.int().argmax(dim=0)
        standing.fell(wrong.any(dim=0), asked[first, torch.arange(len(first), device=first.device)])


def _blends(x: Tensor, face: Face, rng: Generator) -> Tensor:
    """Each input `[B, *shape]` mixed with another of the batch in some proportion; with noise where it drew itself."""
    order = torch.randperm(len(x), generator=rng)
    rows = (-1, *[1] * (x.dim() - 1))
    itself = (order == torch.arange(len(x))).view(rows).to(x.device)
    noise = torch.rand(x.shape, generator=rng).to(x) * (face.high - face.low) + face.low
    weight = torch.rand(len(x), generator=rng).view(rows).to(x)
    blends = weight * x + (1 - weight) * torch.where(itself, noise, x[order.to(x.device)])
    return blends.clamp(face.low, face.high)


def _climb(
    standing: Standing, substitute: Substitute, within: PerturbationSet, rank: int, steps: int, rng: Generator
) -> Tensor:
    """The points of highest margin on a climb of the substitute towards its `rank`-th likeliest wrong class.

    Rank 0 heads for whichever wrong class is nearest, and begins at the clean input; others begin at random.
    """
    x, y = standing.x, standing.y
    own = Metered(substitute.model, Access.GRADIENTS, Budget(), len(x))
    target = own.logits(x).scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True)
    towards = target[:, (rank - 1) % (own.face.classes - 1)]

    def objective(logits: Tensor) -> Tensor:
        if rank == 0:
            return margin(logits, y)
        return (logits.gather(1, towards[:, None]) - logits.gather(1, y[:, None])).squeeze(1)

    point = within.start(x) if rank == 0 else within.sample(x, rng)
    best, highest = point, torch.full((len(x),), -torch.inf).to(x)
    moving = torch.zeros_like(point)
    for step in range(steps + 1):
        slope = own.slope(point, objective, lambda p: within.render(x, p))
        rows = (-1, *[1] * (point.dim() - 1))
        better = slope.loss > highest
        best = torch.where(better.view(rows), point, best)
        highest = torch.where(better, slope.loss, highest)
        length = slope.gradient.flatten(1).abs().sum(dim=1).clamp_min(1e-30).view(rows)
        moving = _MOMENTUM * moving + slope.gradient / length
        if step < steps:
            point = within.ascend(x, point, moving, _STEP * (1 - 0.9 * step / steps))
    return best
