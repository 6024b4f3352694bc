"""Model to stronger model, and its price."""

from redoubt.harden.epoch import Epoch
from redoubt.harden.named import named_recipe, recipe_names
from redoubt.harden.run import Hardened, harden
from redoubt.harden.sweep import sweep
from redoubt.harden.train import Training, train
from redoubt.harden.voting import Voting

__all__ = ["Epoch", "Hardened", "Training", "Voting", "harden", "named_recipe", "recipe_names", "sweep", "train"]
