"""Shadow models: what they are, by a recipe that is data, and how they are trained, many at once."""

from redoubt.attacks.membership.shadows.base import Trainer
from redoubt.attacks.membership.shadows.build import trainer_for
from redoubt.attacks.membership.shadows.of_sklearn import ESTIMATORS, SklearnTrainer
from redoubt.attacks.membership.shadows.of_torch import TorchTrainer

__all__ = ["ESTIMATORS", "SklearnTrainer", "TorchTrainer", "Trainer", "trainer_for"]
