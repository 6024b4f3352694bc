"""A language model that is trained by counting: in a moment, and with a memory as long as its order."""

from pathlib import Path

import torch
from torch import Tensor, nn

from redoubt.models.language import CharacterModel

LETTERS = "\n abcdefghijklmnopqrstuvwxyz0123456789.,"


class NGram(nn.Module):
    """Probabilities of the next character after the last ones: counts of each order, the longer ones weighing more."""

    def __init__(self, text: str, vocabulary: str = LETTERS, order: int = 8, weight: float = 20.0) -> None:
        super().__init__()
        self.vocabulary, self.order, self.weight = vocabulary, order, weight
        number = {character: at for at, character in enumerate(vocabulary)}
        tokens = [number[character] for character in text]
        self.counts: dict[tuple[int, ...], dict[int, int]] = {}
        for at, token in enumerate(tokens):
            for back in range(min(order, at) + 1):
                seen = self.counts.setdefault(tuple(tokens[at - back : at]), {})
                seen[token] = seen.get(token, 0) + 1
        self.known: dict[tuple[int, ...], Tensor] = {}
        self.register_buffer("size", torch.tensor(len(tokens)))

    def after(self, context: tuple[int, ...]) -> Tensor:
        """Logits of the next character."""
        if context not in self.known:
            total = torch.full((len(self.vocabulary),), 1e-3)
            for back in range(len(context) + 1):
                seen = self.counts.get(context[len(context) - back :], {})
                for token, count in seen.items():
                    total[token] += count / sum(seen.values()) * self.weight**back
            self.known[context] = total.log()
        return self.known[context]

    def forward(self, tokens: Tensor) -> Tensor:
        rows = [
            torch.stack([self.after(tuple(row[max(0, at + 1 - self.order) : at + 1])) for at in range(len(row))])
            for row in tokens.long().tolist()
        ]
        return torch.stack(rows)


def model_of(text: str, context: int = 64, **options) -> CharacterModel:
    """The counting model of a text."""
    return CharacterModel(NGram(text, **options), LETTERS, context)


def shakespeare(root: Path | None, begin: int, size: int) -> str:
    """A piece of real text, in the letters above."""
    if root is None:
        import pytest

        pytest.skip("tinyshakespeare is not there")
    whole = (root / "tinyshakespeare/input.txt").read_text()[begin : begin + 2 * size].lower()
    return "".join(character for character in whole if character in LETTERS)[:size]
