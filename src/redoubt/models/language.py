"""Language models: classifiers of the next token, that can also say how likely a whole text is.

As a `Model` it takes the last `L` tokens as an input `[B, L]` of token numbers and scores the next one, so that it has
a face, a digest and answers like any other.  What else is known of it, only games of text ask for.
"""

import abc
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from redoubt.models.base import Face, Model
from redoubt.models.weights import digest_of_state
from redoubt.records import DataError, ModelError, digest


class LanguageModel(Model):
    """A causal language model.

    Attributes:
        context: the most tokens that it looks at.
    """

    context: int

    @abc.abstractmethod
    def sequence_logits(self, tokens: Tensor) -> Tensor:
        """Logits `[B, L, V]` of the token after each of `tokens`, int64 `[B, L]`, L at most `context`."""

    @abc.abstractmethod
    def encode(self, text: str) -> Tensor:
        """The text as tokens, int64 `[L]`.

        Raises:
            DataError: it holds what this model has no token for.
        """

    @abc.abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """Tokens as text."""

    def _scores(self, x: Tensor) -> Tensor:
        tokens = x.round().long()
        return self.sequence_logits(tokens)[:, -1].float()


class CharacterModel(LanguageModel):
    """A torch module over single characters: `[B, L]` token numbers to logits `[B, L, V]`.

    Args:
        module: in evaluation mode it answers the same every time.
        vocabulary: the V characters, by token number.
        context: the most tokens that the module takes.

    Raises:
        ModelError: a character stands twice in the vocabulary.
    """

    def __init__(self, module: nn.Module, vocabulary: str, context: int) -> None:
        super().__init__(Face((context,), 0.0, float(len(vocabulary) - 1), len(vocabulary), tuple(vocabulary)))
        if len(set(vocabulary)) != len(vocabulary):
            raise ModelError("a character stands twice in the vocabulary", remedy="list each character once")
        self._module, self._vocabulary, self.context = module.eval(), vocabulary, context
        self._number = {character: number for number, character in enumerate(vocabulary)}

    def sequence_logits(self, tokens: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = self._module(tokens)
        if logits.shape != (*tokens.shape, len(self._vocabulary)):
            raise ModelError(
                f"the module answers {list(logits.shape)} to tokens {list(tokens.shape)}; expected "
                f"{[*tokens.shape, len(self._vocabulary)]}"
            )
        return logits

    def encode(self, text: str) -> Tensor:
        try:
            return torch.tensor([self._number[character] for character in text], dtype=torch.int64)
        except KeyError as error:
            raise DataError(f"the model has no token for {error.args[0]!r}", remedy="leave the character out") from None

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(self._vocabulary[token] for token in tokens)

    def digest(self) -> str:
        return digest([digest_of_state(self._module), self._vocabulary, self.context])


def language_model(model: Model) -> LanguageModel:
    """The model as a language model.

    Raises:
        ModelError: it is none.
    """
    if not isinstance(model, LanguageModel):
        raise ModelError(
            "the model is no language model",
            remedy="give transformers:<folder>, or a torch factory whose module has a `vocabulary` of characters",
        )
    return model
