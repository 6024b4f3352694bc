"""Which of many drawn texts are training text: each measure is low where the model knows a text suspiciously well.

Carlini et al. 2021, section 5.2.  All are ratios of what the model needs for a text to what something else needs
that did not see the training text.

| measure | against |
|---|---|
| `perplexity` | nothing: bits per token |
| `zlib` | what zlib needs for it: finds what is likely although it is no mere repetition |
| `lowercase` | the same text in lower case |
| `reference` | another model, trained on other text |
"""

import zlib
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from redoubt.attacks.memorisation.likelihood import token_bits
from redoubt.models.language import LanguageModel

Measure = Literal["perplexity", "zlib", "lowercase", "reference"]


def suspicion(
    model: LanguageModel, texts: Sequence[str], reference: LanguageModel | None = None
) -> dict[Measure, Tensor]:
    """Each measure of each text, float64 `[N]`: the lower, the likelier it is training text.

    `reference` is measured only where there is such a model.  Texts have two tokens or more, of every model.
    """
    own, counts = token_bits(model, [model.encode(text) for text in texts])
    each = own / counts
    packed = torch.tensor([8.0 * len(zlib.compress(text.encode())) for text in texts], dtype=torch.float64)
    lower, lower_counts = token_bits(model, [model.encode(_lower(model, text)) for text in texts])
    found: dict[Measure, Tensor] = {
        "perplexity": each,
        "zlib": own / packed,
        "lowercase": each / (lower / lower_counts).clamp(min=1e-9),
    }
    if reference is not None:
        others, other_counts = token_bits(reference, [reference.encode(text) for text in texts])
        found["reference"] = each / (others / other_counts).clamp(min=1e-9)
    return found


def _lower(model: LanguageModel, text: str) -> str:
    """In lower case, but for characters that the model has no token for then."""
    return "".join(low if _has(model, low := one.lower()) else one for one in text)


def _has(model: LanguageModel, text: str) -> bool:
    from redoubt.records import DataError

    try:
        model.encode(text)
    except DataError:
        return False
    return True


def distinct(encoded: Sequence[Tensor], order: Sequence[int]) -> list[int]:
    """The order, without texts that repeat one before them: more than half of their trigrams of tokens are in it.

    Trigrams are counted as often as they stand there (Carlini et al. 2021, appendix A).
    """
    kept: list[int] = []
    seen: list[dict[tuple[int, ...], int]] = []
    for at in order:
        mine = _trigrams(encoded[at])
        size = sum(mine.values())
        if any(2 * sum(min(count, other.get(key, 0)) for key, count in mine.items()) > size for other in seen):
            continue
        kept.append(at)
        seen.append(mine)
    return kept


def _trigrams(tokens: Tensor) -> dict[tuple[int, ...], int]:
    found: dict[tuple[int, ...], int] = {}
    row = tokens.tolist()
    for key in zip(row, row[1:], row[2:], strict=False):
        found[key] = found.get(key, 0) + 1
    return found
