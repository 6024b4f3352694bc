"""Online learning: a batch of new examples, and a copy of the model that is in force."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from redoubt.data import Dataset
from redoubt.models import Model, TorchModel
from redoubt.records import Learning, ModelError


def learn_batch(model: Model, batch: Dataset, train: Dataset | None, recipe: Learning, seed: int) -> dict[str, Tensor]:
    """Learn a batch, in place.

    Beside each new example, `recipe.replay` examples of the training data are learnt again (rehearsal, Robins 1995), so
    that what was known is not forgotten.  The same batch, model and seed give the same weights.

    Args:
        model: a copy of the one in force, loaded for this; its weights change.
        batch: the new examples.
        train: the model's training data; none are learnt again if None.
        recipe: how.
        seed: the policy's.

    Returns:
        Tensors by name, as a safetensors file holds them.

    Raises:
        ModelError: the model is no torch model, or its loss is not finite.
    """
    if not isinstance(model, TorchModel):
        raise ModelError(
            f"a {type(model).__name__} learns no batch", remedy="train it where it comes from, and hand in its file"
        )
    module = model.module.train().requires_grad_(True)
    rng = Generator().manual_seed(seed)
    x, y = _with_rehearsal(batch, train, recipe.replay, rng)
    optimizer: torch.optim.Optimizer = (
        torch.optim.Adam(module.parameters(), lr=recipe.learning_rate)
        if recipe.optimizer == "adam"
        else torch.optim.SGD(module.parameters(), lr=recipe.learning_rate, momentum=0.9)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for dropout and its like
        for _ in range(recipe.epochs):
            for rows in torch.split(torch.randperm(len(y), generator=rng), recipe.batch):
                if len(rows) == 1 and len(y) > 1:
                    continue  # batch normalisation cannot train on one example
                loss = F.cross_entropy(model.training_logits(x[rows]), y[rows])
                if not torch.isfinite(loss):
                    raise ModelError("the loss is not finite", remedy="lower update.learn.learning_rate")
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    module.eval()
    return {name: value.detach().contiguous().clone() for name, value in module.state_dict().items()}


def _with_rehearsal(batch: Dataset, train: Dataset | None, replay: float, rng: Generator) -> tuple[Tensor, Tensor]:
    count = 0 if train is None else min(round(replay * len(batch)), len(train))
    if train is None or not count:
        return batch.x, batch.y
    rows = torch.randperm(len(train), generator=rng)[:count]
    return torch.cat([batch.x, train.x[rows]]), torch.cat([batch.y, train.y[rows]])
