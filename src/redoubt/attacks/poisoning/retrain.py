"""Training from scratch: the adversary's surrogates on clean data, the victims on poisoned data."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from redoubt.attacks.membership.shadows import TorchTrainer, Trainer
from redoubt.attacks.poisoning.surrogate import Surrogate
from redoubt.data import Dataset
from redoubt.models.adapter import Adapter
from redoubt.records.training import TrainingRecipe

_LINEAR = TrainingRecipe(epochs=30, learning_rate=1e-2, weight_decay=1e-4)


def surrogates_of(trainer: Trainer, data: Dataset, seeds: Sequence[int], adapter: Adapter) -> tuple[Surrogate, ...]:
    """Models of the adversary's own, one for each seed, trained on the clean data as the victim will be.

    Of a victim that has no gradients (scikit-learn's), a softmax regression on the inputs stands in.

    Raises:
        ModelError: training fails.
    """
    course = trainer if isinstance(trainer, TorchTrainer) else TorchTrainer(_Linear(adapter), adapter, _LINEAR, "")
    return tuple(Surrogate(course.fit(data.x, data.y, seed), course.adapter) for seed in seeds)


def answers_after(trainer: Trainer, data: Dataset, asked: Tensor, seeds: Sequence[int]) -> Tensor:
    """Train victims from scratch, and ask them.

    Args:
        trainer: the victim's recipe.
        data: N rows, poisoned or not.
        asked: float32 `[A, *shape]`, none of which is trained on.
        seeds: of each victim's initial weights and order of batches.

    Returns:
        Labels, int64 `[V, A]`.

    Raises:
        ModelError: training fails.
    """
    x = torch.cat([data.x, asked])
    y = torch.cat([data.y, torch.zeros(len(asked), dtype=torch.int64)])
    inside = (torch.arange(len(x)) < len(data)).expand(len(seeds), -1)
    return trainer.scores(x, y, inside, seeds)[:, len(data) :].argmax(dim=2)


class _Linear:
    """Builds softmax regressions on the inputs of a face."""

    def __init__(self, adapter: Adapter) -> None:
        self._size, self._classes = adapter.face.shape, adapter.face.classes

    def __call__(self, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(self._size).numel(), self._classes))
