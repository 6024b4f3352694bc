"""What is left when no gradient leads on: random changes, kept where the answers come nearer to fooling.

The square attack (Andriushchenko et al. 2020) on the search's own measure of nearness, which counts a detector's
suspicion with the margin; so it walks where the square attack, which asks for an answer, is refused at every turn.
"""

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.adaptive.climb import TO_ASK, Climbed, asked, when_asked
from redoubt.attacks.evasion.adaptive.objectives import Aims
from redoubt.attacks.evasion.square import share_at, squares_of
from redoubt.attacks.evasion.standing import Standing
from redoubt.models.meter import Metered
from redoubt.perturb.base import PerturbationSet
from redoubt.perturb.norms import L2Ball, LinfBall

LEAST = 50  # passes, below which it is not begun
_DRAWS = 4  # of a random model's answer to each change


def walk(
    model: Metered,
    x: Tensor,
    rows: Tensor,
    within: PerturbationSet,
    aims: Aims,
    passes: int,
    rng: Generator,
    *,
    random: bool,
) -> Climbed | None:
    """Walk through the set with that many passes; None where there are too few, or the set is no Linf or L2 ball.

    Args:
        model: the handle for exactly these examples.
        x: clean inputs `[B, *shape]`.
        rows: their rows in `aims`, int64 `[B]`.
        within: the set.
        aims: labels of the whole batch.
        passes: per example.
        rng: CPU generator.
        random: whether the model draws at random.
    """
    if passes < LEAST or not isinstance(within, LinfBall | L2Ball):
        return None
    standing = Standing(model, x, aims.y[rows], within)
    squares, draws = squares_of(within, rng), _DRAWS if random else 1
    queries = (passes - (TO_ASK if random else 0)) // draws
    askings = when_asked(queries)
    fooled = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    best = torch.full((len(x),), -torch.inf, device=x.device)
    for query in range(queries):
        here = standing.rows
        at = standing.points[here]
        point = squares.change(standing.x, at, share_at(query, queries)) if query else squares.first(standing.x)
        answers = [standing.model.scored(within.render(standing.x, point)) for _ in range(draws)]
        height = torch.stack([aims.height(one, rows[here], deep=random) for one in answers]).mean(dim=0)
        better = height > best[here]
        best[here] = torch.where(better, height, best[here])
        standing.propose(torch.where(better.view(-1, *[1] * (point.dim() - 1)), point, at))
        at, fell = point, answers[0].fooled(standing.y)
        if random:
            at, fell = standing.points[here], torch.zeros_like(fell)
            if query in askings:
                there = within.render(standing.x, at)
                best[here], fell = asked(standing.model, there, rows[here], aims)
        if bool(fell.any()):
            fooled[here[fell]] = True
            standing.fell(fell, at)
            if not len(standing):
                break
    return Climbed(standing.points, fooled, best)
