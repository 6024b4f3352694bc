"""How likely a language model holds a text: bits, and bits per token."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from redoubt.models.language import LanguageModel
from redoubt.records import DataError

_LN2 = 0.6931471805599453


def bits(model: LanguageModel, texts: Sequence[str], at_once: int = 256) -> Tensor:
    """The log-perplexity of each text (Carlini et al. 2019, definition 1): minus log2 of its probability.

    The first token is given, not predicted.  A text longer than the model's context is cut to its first tokens.

    Returns:
        float64 `[N]`, in bits.

    Raises:
        DataError: a text has fewer than two tokens, or holds what the model has no token for.
    """
    return token_bits(model, [model.encode(text) for text in texts], at_once)[0]


def token_bits(model: LanguageModel, encoded: Sequence[Tensor], at_once: int = 256) -> tuple[Tensor, Tensor]:
    """The same of texts as tokens, int64 `[L]` each; and how many tokens of each were predicted, int64 `[N]`."""
    short = next((at for at, row in enumerate(encoded) if len(row) < 2), None)
    if short is not None:
        raise DataError(f"text {short} has fewer than two tokens", remedy="give a longer one")
    found = torch.zeros(len(encoded), dtype=torch.float64)
    counts = torch.zeros(len(encoded), dtype=torch.int64)
    order = sorted(range(len(encoded)), key=lambda at: len(encoded[at]))  # like lengths together: little padding
    for begin in range(0, len(order), at_once):
        chosen = order[begin : begin + at_once]
        rows = [encoded[at][: model.context + 1] for at in chosen]
        tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        logits = model.sequence_logits(tokens[:, :-1])  # causal: what pads the end changes nothing before it
        each = F.cross_entropy(logits.double().transpose(1, 2), tokens[:, 1:], reduction="none")
        lengths = torch.tensor([len(row) - 1 for row in rows])
        inside = torch.arange(each.shape[1]) < lengths[:, None]
        found[chosen], counts[chosen] = (each * inside).sum(1) / _LN2, lengths
    return found, counts
