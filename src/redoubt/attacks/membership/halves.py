"""Which records each shadow model is trained on: every record in exactly half of them."""

import torch
from torch import Generator, Tensor


def halves(models: int, records: int, seed: int) -> Tensor:
    """Random halves in pairs, each model's half being what its partner's is not.

    So every record is in exactly half of the models (Carlini et al. 2022, section 4.3), and every model has half of the
    records, give or take one, which lets models be trained side by side.

    Args:
        models: even, at least 2.
        records: at least 2.
        seed: any whole number; the first models do not depend on how many there are.

    Returns:
        bool `[models, records]`.

    Raises:
        ValueError: an odd number of models, or nothing to halve.

    >>> halves(4, 10, seed=0).sum(dim=0).unique(), halves(4, 10, seed=0).sum(dim=1).unique()
    (tensor([2]), tensor([5]))
    """
    if models < 2 or models % 2 or records < 2:
        raise ValueError(f"{models} models over {records} records: give an even number of models, and two records")
    rng = Generator().manual_seed(seed)
    inside = torch.zeros(models, records, dtype=torch.bool)
    for pair in range(models // 2):
        inside[2 * pair, torch.randperm(records, generator=rng)[: records // 2]] = True
    inside[1::2] = ~inside[::2]
    return inside
