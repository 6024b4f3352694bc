"""The search for an attack that fits a defence, composed of parts that know nothing of any defence.

After Yao et al. 2021 ("Automated discovery of adaptive attacks on adversarial defenses"): a space of compositions,
scored on a few examples, the best played on all.  Theirs is searched by trial alone; here probing the model's parts
first leaves only ways around what is broken.

1. look: which parts break gradients, which draw at random, is there a detector, does a step along the gradient pay?
2. nothing amiss: a short climb, and no more
3. ways around the broken parts, each scored on a few examples
4. objectives, by the best way, scored on the same examples
5. the best, in turn, on all who still stand, until the passes are spent
6. do steps along the composed gradient pay now?
7. what is left of the passes: a walk that needs no gradient, for who still stands
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Generator, Tensor

from redoubt.attacks.evasion.adaptive import trust
from redoubt.attacks.evasion.adaptive.climb import Climbed, Manner, climb, draw
from redoubt.attacks.evasion.adaptive.eot import MOST, samples_for
from redoubt.attacks.evasion.adaptive.mend import Mend, identity, learnt
from redoubt.attacks.evasion.adaptive.objectives import Aims, Objective, Scales
from redoubt.attacks.evasion.adaptive.parts import Flaw, Gap, Parts, find_parts
from redoubt.attacks.evasion.adaptive.walk import walk
from redoubt.attacks.evasion.base import EvasionAttack
from redoubt.models.base import Scored
from redoubt.models.meter import BudgetExceeded, Metered
from redoubt.models.sites import Site
from redoubt.perturb.base import PerturbationSet
from redoubt.records import Access, BrokenPart, Budget, Found, Tried

_PROBED, _LEAST = 8, 4  # examples whose parts are looked at; copies are made of fewer
_SCORED = 16  # examples that candidates are scored on
_SEARCHES = 250  # passes, below which none are spent on a search
_SEARCH = 0.4  # of the passes, spent on the search at most
_QUICK = 10  # steps of a climb in the first stage, and of the only one of a healthy model
_LONGER = 20  # in the second
_FULL = 60  # of the best
_PLAYS = 6  # climbs of the best on all who stand, at most
_KEPT = 3  # candidates played in turn
_DEARER = 4  # times the samples, of who is played again
_SMOOTH = 0.3
_DRAWS = 8  # gradients by whose variance their number is chosen
_LIKES = 2  # clean inputs to collide with


@dataclass(frozen=True)
class Candidate:
    """One composition."""

    mends: tuple[Mend, ...]
    manner: Manner

    @property
    def watch(self) -> tuple[Site, ...]:
        """What its objective must see."""
        return () if self.manner.objective.site is None else (self.manner.objective.site,)

    def __str__(self) -> str:
        words = [str(mend) for mend in self.mends] or ["gradients as they are"]
        if self.manner.samples > 1:
            words.append(f"{self.manner.samples} gradients averaged")
        if self.manner.smooth:
            words.append("taken around the point")
        if self.manner.still:
            words.append("from the clean input")
        return "; ".join([*words, str(self.manner.objective)])


@dataclass
class _Score:
    candidate: Candidate
    fooled: int
    shortfall: float
    attacked: int

    @classmethod
    def of(cls, candidate: Candidate, end: Climbed) -> "_Score":
        return cls(candidate, int(end.fooled.sum()), _shortfall(end), len(end.fooled))

    def tried(self) -> Tried:
        return Tried(what=str(self.candidate), attacked=self.attacked, fooled=self.fooled, shortfall=self.shortfall)


@dataclass(frozen=True)
class Adaptive(EvasionAttack):
    """Find out what is wrong with a model's gradients and answers, compose an attack around it, and play that.

    Costs a healthy model some 40 passes of a few examples, and a climb of 10 steps.

    Does not cover: models that are no torch modules, of which only the whole is looked at; a break on one of several
    parallel branches; randomness that torch's seed does not govern and that averaging cannot tame; defences that
    remember earlier queries.

    Attributes:
        passes: per example, at most, whatever the budget.
    """

    passes: int = 4000
    name: ClassVar[str] = "adaptive"
    needs: ClassVar[Access] = Access.GRADIENTS

    def run(
        self, model: Metered, x: Tensor, y: Tensor, within: PerturbationSet, budget: Budget, rng: Generator
    ) -> Tensor:
        limit = self.passes if budget.passes is None else min(self.passes, budget.passes)
        search = _Search(model, x, y, within, limit, rng)
        if limit < _SEARCHES:
            search.plain(max((limit - 1) // 2, 0))
            return search.points
        mended = False
        with contextlib.suppress(BudgetExceeded):  # the meter says where the budget ends; what was found stays found
            mended = search.run()
        model.meter.notes.append(search.found(self.name, mended=mended))
        return search.points


@dataclass
class _Search:
    """One run.  `points` are proposals, `heights` how near they come, `standing` the rows that none fools."""

    model: Metered
    x: Tensor
    y: Tensor
    within: PerturbationSet
    limit: int
    rng: Generator
    points: Tensor = field(init=False)
    standing: Tensor = field(init=False)
    heights: Tensor = field(init=False)
    scored: list[_Score] = field(default_factory=list)
    played: list[_Score] = field(default_factory=list)
    walked: tuple[Tried, ...] = ()
    broken: tuple[BrokenPart, ...] = ()

    def __post_init__(self) -> None:
        self.points = self.within.start(self.x).clone()
        self.standing = torch.ones(len(self.x), dtype=torch.bool, device=self.x.device)
        self.heights = torch.full((len(self.x),), -torch.inf, device=self.x.device)

    @property
    def left(self) -> int:
        """Passes that every example can still pay."""
        return self.limit - self.model.spent

    def run(self) -> bool:
        """The numbered steps; whether the gradients that it ended with pay."""
        # 1
        aims, clean = self._aims()
        some = self._some(_PROBED)
        parts = self._parts(some)
        if any(gap.flaw is Flaw.JUMPING for gap in parts.gaps):
            parts = parts & self._parts(self._some(_SCORED))
        first = Manner(Objective("margin"), random=self._draws(some, parts))
        refuses = clean.suspicion is not None
        if refuses:
            first = replace(first, objective=Objective("selective"))
        honest = trust.paying(self.model.only(some), self.x[some], some, self.within, aims, first, self.rng)
        if refuses or honest < trust.TRUSTED:
            # Votes and alarms need not move with an input that moves within the set: move it towards another.
            parts = parts | self._parts(some, far=True)
        self.broken = _broken(parts, first.random, refuses, honest)
        # 2
        if not self.broken:
            self._play(Candidate((), first), aims, _QUICK)
            return True
        # 3, 4
        ranked = self._ranked(parts, aims, first, honest)
        # 5
        kept = max(trust.cost(one.manner) for one in ranked)  # for step 6
        for turn in range(_PLAYS):
            wanted, purse = ranked[turn % len(ranked)], (self.left - kept) // max(_KEPT - turn, 1)
            if turn >= len(ranked):  # once more for few, at more cost; half is for step 7
                wanted, purse = _dearer(wanted), (self.left - kept) // 2
            best, steps = self._fitting(wanted, _FULL, purse)
            if steps < 2 or not bool(self.standing.any()):
                break
            self._play(best, aims, steps)
        # 6
        best = max((score.candidate for score in self.played), key=self._fooled_by, default=ranked[0])
        mended = self._mended(best, aims)
        # 7
        self._walk(aims, random=first.random)
        return mended

    def plain(self, steps: int) -> None:
        """A climb, for budgets that buy no search."""
        if steps:
            aims = Aims(self.y, Scales(1.0, 1.0), self.y[:, None], {})
            self._play(Candidate((), Manner(Objective("margin"))), aims, steps)

    # ── 1: look ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _aims(self) -> tuple[Aims, Scored]:
        with torch.no_grad():
            traced = self.model.trace(self.within.render(self.x, self.within.start(self.x)))
        scored = traced.scored
        classes = scored.logits.scatter(1, self.y[:, None], -torch.inf).argsort(dim=1, descending=True)[:, :-1]
        likes: dict[Site, Tensor] = {}
        if scored.suspicion is not None:
            likes = _likes(traced.seen, scored.logits, self.y)
        return Aims(self.y, Scales.of(scored, self.y), classes, likes), scored

    def _some(self, most: int) -> Tensor:
        """A few of those who stand, in random order."""
        rows = self.standing.nonzero().squeeze(1)
        return rows[torch.randperm(len(rows), generator=self.rng)[:most].to(rows.device)]

    def _parts(self, some: Tensor, *, far: bool = False) -> Parts:
        copies = -(-_LEAST // len(some))
        x = self.x[some].repeat(copies, *[1] * (self.x.dim() - 1))
        start, end = (self.within.render(x, self.within.sample(x, self.rng)) for _ in range(2))
        return find_parts(self.model.only(some), start, end.roll(1, dims=0) if far else end)

    def _draws(self, some: Tensor, parts: Parts) -> bool:
        part, x = self.model.only(some), self.within.render(self.x[some], self.within.start(self.x[some]))
        one, other = part.scored(x), part.scored(x)
        apart = (one.logits - other.logits).abs().amax() > 1e-4 * one.logits.abs().amax()
        return bool(parts.random) or bool(apart)

    # ── 3 and 4: the search ──────────────────────────────────────────────────────────────────────────────────────

    def _ranked(self, parts: Parts, aims: Aims, first: Manner, honest: float) -> list[Candidate]:
        """The candidates worth playing on all, best first."""
        some, purse = self._some(_SCORED), int(_SEARCH * self.left)
        crooked = bool(parts.gaps) or honest < trust.TRUSTED
        smooths = (0.0, _SMOOTH) if crooked else (0.0,)
        scores = self._scored(self._straight(parts), smooths, aims, first, some, purse // 4)
        if crooked and scores[0].fooled < len(some) / 2:
            scores = sorted(
                [*scores, *self._scored(self._fitted(parts), smooths, aims, first, some, purse // 4)], key=_rank
            )
        best = scores[0].candidate
        if first.objective.kind == "selective":  # alarms may hear any noise, that of a random start too
            quiet = [replace(best, manner=replace(best.manner, still=True))]
            best = sorted([scores[0], *self._score(quiet, aims, some, _QUICK, purse // 8)], key=_rank)[0].candidate
        others = [
            replace(best, manner=replace(best.manner, objective=objective))
            for objective in _objectives(aims, first.objective)
        ]
        again = self._score([best, *others], aims, some, _LONGER, purse // 2)
        merged = [score.candidate for score in again]
        if len(scores) > 1 and scores[1].fooled:  # the second way too, lest the first was luck
            second, objective = scores[1].candidate, merged[0].manner.objective
            merged.insert(1, replace(second, manner=replace(second.manner, objective=objective)))
        return merged[:_KEPT]

    def _scored(
        self,
        ways: Sequence[tuple[Mend, ...]],
        smooths: Sequence[float],
        aims: Aims,
        first: Manner,
        some: Tensor,
        purse: int,
    ) -> list[_Score]:
        pairs = [(way, replace(first, smooth=smooth)) for smooth in smooths for way in ways]
        candidates = [Candidate(way, self._sampled(way, manner, aims, some)) for way, manner in pairs]
        return self._score(candidates, aims, some, _QUICK, purse)

    def _straight(self, parts: Parts) -> list[tuple[Mend, ...]]:
        """No way around, and the identity where shapes allow it, a learnt way elsewhere."""
        mends = [identity(gap) or self._learnt(gap) for gap in parts.gaps]
        way = tuple(mend for mend in mends if mend is not None)
        return [(), way] if way else [()]

    def _fitted(self, parts: Parts) -> list[tuple[Mend, ...]]:
        """Learnt ways around all broken parts, and around the whole model."""
        whole = _whole(parts, self.model.face.classes)
        mends = tuple(mend for mend in map(self._learnt, parts.gaps) if mend is not None)
        wholly = None if whole is None else self._learnt(whole)
        return [way for way in (mends, () if wholly is None else (wholly,)) if way]

    def _learnt(self, gap: Gap) -> Mend | None:
        return learnt(gap, self.model, self.x, self.within, self.rng)

    def _sampled(self, way: tuple[Mend, ...], manner: Manner, aims: Aims, some: Tensor) -> Manner:
        """The manner, with as many samples as its gradient's variance asks for."""
        if not manner.random and not manner.smooth:
            return manner
        model, x = self._wired(Candidate(way, manner), some), self.x[some]
        point = self.within.sample(x, self.rng)
        drawn = torch.stack(
            [draw(model, x, some, self.within, aims, manner, point, self.rng).gradient for _ in range(_DRAWS)]
        )
        return replace(manner, samples=samples_for(drawn))

    def _score(self, candidates: Sequence[Candidate], aims: Aims, some: Tensor, steps: int, purse: int) -> list[_Score]:
        """Climb with each on the same few examples; best first.  All are given the same passes."""
        each = purse // max(len(candidates), 1)
        start = self.within.sample(self.x[some], self.rng)
        scores = []
        for wanted in candidates:
            candidate, affordable = self._fitting(wanted, steps, each)
            if affordable < 2:
                continue
            end = self._climbed(candidate, aims, some, affordable, start)
            self._keep(some, end)
            scores.append(_Score.of(candidate, end))
        self.scored += scores
        return sorted(scores, key=_rank) or [_Score(candidates[0], 0, torch.inf, 0)]

    @staticmethod
    def _fitting(candidate: Candidate, steps: int, purse: int) -> tuple[Candidate, int]:
        """With fewer samples where the purse does not buy a third of the steps: momentum averages too."""
        samples = candidate.manner.samples
        while samples > 1 and replace(candidate.manner, samples=samples).cost(steps // 3) > purse:
            samples -= 1
        fitting = replace(candidate, manner=replace(candidate.manner, samples=samples))
        while steps >= 2 and fitting.manner.cost(steps) > purse:
            steps -= 1
        return fitting, steps

    # ── 5: play ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _wired(self, candidate: Candidate, rows: Tensor) -> Metered:
        model = self.model.only(rows)
        if not candidate.mends and not candidate.watch:
            return model
        return model.rewired([mend.bridge for mend in candidate.mends], candidate.watch)

    def _climbed(self, candidate: Candidate, aims: Aims, rows: Tensor, steps: int, start: Tensor | None) -> Climbed:
        model = self._wired(candidate, rows)
        return climb(model, self.x[rows], rows, self.within, aims, candidate.manner, steps, self.rng, start)

    def _keep(self, rows: Tensor, end: Climbed) -> None:
        """Take over what fools, and of those who stand what came nearer than anything before."""
        better = (end.fooled | (end.height > self.heights[rows])) & self.standing[rows]
        self.points[rows[better]], self.heights[rows[better]] = end.points[better], end.height[better]
        self.standing[rows[end.fooled]] = False

    def _play(self, candidate: Candidate, aims: Aims, steps: int) -> None:
        rows = self.standing.nonzero().squeeze(1)
        end = self._climbed(candidate, aims, rows, steps, None)
        self._keep(rows, end)
        self.played.append(_Score.of(candidate, end))

    def _walk(self, aims: Aims, *, random: bool) -> None:
        rows = self.standing.nonzero().squeeze(1)
        if not len(rows):
            return
        model = self.model.only(rows)
        end = walk(model, self.x[rows], rows, self.within, aims, self.left, self.rng, random=random)
        if end is not None:
            self._keep(rows, end)
            what = "random changes, without gradients"
            self.walked = (
                Tried(what=what, attacked=len(rows), fooled=int(end.fooled.sum()), shortfall=_shortfall(end)),
            )

    # ── 6: say ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _mended(self, best: Candidate, aims: Aims) -> bool:
        """Whether steps along the composed gradient pay, on some who stand; on any, if nobody does."""
        some = self._some(_SCORED)
        if not len(some):
            return True
        if trust.cost(best.manner) > self.left:
            return False
        model = self._wired(best, some)
        return trust.paying(model, self.x[some], some, self.within, aims, best.manner, self.rng) >= trust.TRUSTED

    def _fooled_by(self, candidate: Candidate) -> int:
        return sum(score.fooled for score in self.played if score.candidate == candidate)

    def found(self, name: str, *, mended: bool) -> Found:
        """For the evidence."""
        return Found(
            strategy=name,
            parts=self.broken,
            scored=tuple(score.tried() for score in self.scored),
            played=(*(score.tried() for score in self.played), *self.walked),
            mended=mended,
            samples=max((score.candidate.manner.samples for score in self.played), default=1),
        )


def _broken(parts: Parts, random: bool, refuses: bool, honest: float) -> tuple[BrokenPart, ...]:
    """What is amiss, for the evidence."""
    broken = [BrokenPart(part=gap.part, flaw=gap.flaw.value) for gap in (*parts.random, *parts.gaps)]
    if random and not parts.random:
        broken.append(BrokenPart(part="the whole model", flaw=Flaw.RANDOM.value))
    if refuses:
        broken.append(BrokenPart(part="a detector", flaw="refuses"))
    if not broken and honest < trust.TRUSTED:
        broken.append(BrokenPart(part="the whole model", flaw=Flaw.MISLEADING.value))
    return tuple(broken)


def _dearer(candidate: Candidate) -> Candidate:
    """With more gradients averaged, where they differ from draw to draw."""
    manner = candidate.manner
    if not manner.random and not manner.smooth:
        return candidate
    return replace(candidate, manner=replace(manner, samples=min(_DEARER * manner.samples, MOST)))


def _shortfall(end: Climbed) -> float:
    return round(float(-end.height.clamp_max(0).mean()), 6) + 0.0  # no -0


def _rank(score: _Score) -> float:
    """Best first: share fooled, and how near the others came, since of a few examples one more fooled may be chance."""
    return min(score.shortfall, 1.0) - score.fooled / max(score.attacked, 1)


def _objectives(aims: Aims, first: Objective) -> list[Objective]:
    """All but the first."""
    if first.kind == "selective":
        collisions = [Objective("collide", rank=rank, site=site) for site in aims.likes for rank in range(_LIKES)]
        joint = [Objective("joint", weight=weight) for weight in (0.1, 0.3, 1.0, 3.0)]
        return [Objective("balanced"), Objective("orthogonal"), *joint, *collisions]
    ranks = range(min(2, aims.classes.shape[1]))
    return [Objective("dlr"), Objective("scaled-ce"), *(Objective("targeted", rank=rank) for rank in ranks)]


def _whole(parts: Parts, classes: int) -> Gap | None:
    """The model as one part, from its input to its logits."""
    sites = list(parts.sites)
    logits = [site for site in sites[1:] if parts.sites[site] == (classes,)]
    if not logits or sites[0].side != "in":
        return None
    shapes = (parts.sites[sites[0]],)
    return Gap((sites[0],), logits[-1], "the whole model", Flaw.MISLEADING, shapes, (classes,))


def _likes(seen: Mapping[Site, Tensor], logits: Tensor, y: Tensor) -> dict[Site, Tensor]:
    """At the last features before the logits, and at those halfway: clean inputs of other classes, nearest first."""
    if len(y) < 2 or bool((y == y[0]).all()):
        return {}
    before: list[Site] = []
    for site, value in seen.items():
        if value.shape == logits.shape:
            break
        before.append(site)
    if len(before) < 2:
        return {}
    other = y[:, None] != y[None, :]
    few = min(_LIKES, int(other.sum(dim=1).min()))
    likes: dict[Site, Tensor] = {}
    for site in dict.fromkeys((before[-1], before[(len(before) + 1) // 2])):
        flat = seen[site].flatten(1).float()
        nearest = torch.cdist(flat, flat).masked_fill(~other, torch.inf).topk(few, largest=False).indices
        likes[site] = seen[site][nearest]
    return likes
