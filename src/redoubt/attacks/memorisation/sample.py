"""Text out of a language model: sampling from the most likely tokens, at a temperature that may fall.

Carlini, Tramer, Wallace et al. 2021, "Extracting Training Data from Large Language Models", sections 4.1 and 5.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from redoubt.models.language import LanguageModel


@dataclass(frozen=True)
class Sampler:
    """How text is drawn.

    Attributes:
        length: tokens to be added to each prompt.
        top: only so many of the most likely tokens can be drawn; 0 for all.
        hottest: the temperature of the first token, which then falls along a line.
        cool_after: tokens until the temperature is 1, where it stays; 0 for 1 from the start.
    """

    length: int = 64
    top: int = 40
    hottest: float = 10.0
    cool_after: int = 0

    def temperature(self, at: int) -> float:
        """At the token of that number.

        >>> decaying = Sampler(hottest=10.0, cool_after=20)
        >>> decaying.temperature(0), decaying.temperature(10), decaying.temperature(20), decaying.temperature(50)
        (10.0, 5.5, 1.0, 1.0)
        """
        if at >= self.cool_after:
            return 1.0
        return self.hottest + (1.0 - self.hottest) * at / self.cool_after

    def draw(self, model: LanguageModel, prompts: Sequence[Tensor], rng: Generator, at_once: int = 256) -> list[Tensor]:
        """A continuation of each prompt, int64 `[length]`, without the prompt.

        Prompts are int64 `[P]`, P at least 1; the model looks at as much of the end as it can.
        """
        found: list[Tensor] = [torch.empty(0)] * len(prompts)
        by_length: dict[int, list[int]] = {}
        for at, prompt in enumerate(prompts):
            by_length.setdefault(len(prompt), []).append(at)
        for same in by_length.values():
            for begin in range(0, len(same), at_once):
                chosen = same[begin : begin + at_once]
                whole = self._together(model, torch.stack([prompts[at] for at in chosen]), rng)
                for at, row in zip(chosen, whole, strict=True):
                    found[at] = row
        return found

    def _together(self, model: LanguageModel, tokens: Tensor, rng: Generator) -> Tensor:
        begin = tokens.shape[1]
        for at in range(self.length):
            logits = model.sequence_logits(tokens[:, -model.context :])[:, -1].float() / self.temperature(at)
            if 0 < self.top < logits.shape[1]:
                least = logits.topk(self.top, dim=1).values[:, -1:]
                logits = logits.masked_fill(logits < least, -torch.inf)
            drawn = torch.multinomial(logits.softmax(1), 1, generator=rng)
            tokens = torch.cat([tokens, drawn], 1)
        return tokens[:, begin:]
