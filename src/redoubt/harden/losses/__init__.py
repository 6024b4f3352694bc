"""What is learnt from the worst points."""

from redoubt.harden.losses.loss import Learnt, loss_of, objective_of

__all__ = ["Learnt", "loss_of", "objective_of"]
