"""Passes of a training, counted where they are made."""

from dataclasses import dataclass


@dataclass
class Count:
    """Forward and backward passes of one example each, as the meter of the attacks counts them."""

    forwards: int = 0
    backwards: int = 0

    def forward(self, examples: int) -> None:
        """So many examples went through the model."""
        self.forwards += examples

    def backward(self, examples: int) -> None:
        """So many examples' gradients came back."""
        self.backwards += examples

    @property
    def passes(self) -> int:
        """Both together."""
        return self.forwards + self.backwards
