"""Extraction of training text: draw much, rank by suspicion, and claim the most suspicious.

Carlini et al. 2021.  The adversary has the model's scores and some public text, not the training text.  What it claims
is for a judge to verify.

Not covered: prompts that were learnt against the model, and merging overlapping samples into longer text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Generator, Tensor

from redoubt.attacks.memorisation.rank import Measure, distinct, suspicion
from redoubt.attacks.memorisation.sample import Sampler
from redoubt.models.language import LanguageModel
from redoubt.records import DataError


@dataclass(frozen=True)
class Claim:
    """A text that is claimed to stand in the training text.

    Attributes:
        text: without its prompt.
        prompt: what it was drawn after.
        measure: by which it was suspected most.
        place: its place by that measure, from 0.
    """

    text: str
    prompt: str
    measure: Measure
    place: int


@dataclass(frozen=True)
class Extraction:
    """Draw and claim.

    Attributes:
        samples: texts drawn in each of the three ways: at temperature 1, at a falling one, after public text.
        claims: texts claimed by each measure.
        length: tokens of each.
        top: see `Sampler`.
        prefix: tokens of public text that a prompt has.
        start: prompt of the first two ways: what a text begins with.
    """

    samples: int = 500
    claims: int = 100
    length: int = 64
    top: int = 40
    prefix: int = 8
    start: str = "\n"

    name = "extraction"

    def run(
        self, model: LanguageModel, public: str, rng: Generator, reference: LanguageModel | None = None
    ) -> list[Claim]:
        """All claims, the most suspicious of each measure first; none is made twice.

        Raises:
            DataError: the public text is too short for a prompt, or holds what the model has no token for.
        """
        plain = Sampler(self.length, self.top)
        falling = Sampler(self.length, self.top, cool_after=20)
        start = model.encode(self.start)
        prompts = [start] * (2 * self.samples) + self._prefixes(model, public, rng)
        drawn = plain.draw(model, prompts[: self.samples], rng)
        drawn += falling.draw(model, prompts[self.samples : 2 * self.samples], rng)
        drawn += plain.draw(model, prompts[2 * self.samples :], rng)
        return self.claimed(model, drawn, prompts, reference)

    def claimed(
        self,
        model: LanguageModel,
        drawn: Sequence[Tensor],
        prompts: Sequence[Tensor],
        reference: LanguageModel | None = None,
    ) -> list[Claim]:
        """The claims out of texts drawn after prompts, as tokens."""
        texts = [model.decode(row.tolist()) for row in drawn]
        measures = suspicion(model, texts, reference)
        best: dict[int, tuple[int, Measure]] = {}
        for measure in get_args(Measure):
            if measure not in measures:
                continue
            order = measures[measure].argsort(stable=True).tolist()
            for place, at in enumerate(distinct(drawn, order)[: self.claims]):
                best[at] = min(best.get(at, (place, measure)), (place, measure), key=lambda one: one[0])
        kept = distinct(drawn, sorted(best, key=lambda at: (best[at][0], at)))
        return [Claim(texts[at], model.decode(prompts[at].tolist()), best[at][1], best[at][0]) for at in kept]

    def _prefixes(self, model: LanguageModel, public: str, rng: Generator) -> list[Tensor]:
        """Pieces of public text, from anywhere in it; none where there is no public text."""
        if not public:
            return []
        tokens = model.encode(public)
        if len(tokens) < self.prefix:
            raise DataError(f"public text has fewer than {self.prefix} tokens", remedy="give more of it, or none")
        begins = torch.randint(len(tokens) - self.prefix + 1, (self.samples,), generator=rng).tolist()
        return [tokens[begin : begin + self.prefix] for begin in begins]
