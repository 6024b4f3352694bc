"""What one epoch of a training did."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Epoch:
    """One point of the curves.

    Attributes:
        number: from 1.
        loss: mean training loss.
        clean, robust: accuracy on the examples held out, unperturbed and under the training attack with twice the
            steps, in the requirement's full set.  The latter is a guide for training, not a measurement: `assess`
            measures.
        fitted: as `robust`, but on as many of the examples that are trained on: where it goes on rising while `robust`
            falls, the model overfits to its training examples (robust overfitting; Rice et al. 2020).
        radius: the set's size in training, as a multiple of the requirement's.
        steps: attack steps per batch.
        undone: how often this epoch was undone before, for catastrophic overfitting.
        forwards, backwards: passes of training, of one example each, since the beginning; watching is not counted.
        seconds: wall time of this epoch, undone tries and watching included; of no account when epochs are compared.
    """

    number: int
    loss: float
    clean: float
    robust: float
    fitted: float
    radius: float
    steps: int
    undone: int
    forwards: int
    backwards: int
    seconds: float = field(compare=False, default=0.0)
