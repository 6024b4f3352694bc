"""Several processes that train one model: each takes its rows of every batch, and their gradients are summed.

Random numbers are drawn for the whole batch by every process, so that any number of them sees the same perturbations
and takes the same steps, up to the rounding of sums.  (Batch normalisation counts the rows of its own process.)
"""

import torch
import torch.distributed as dist
from torch import nn


def members() -> tuple[int, int]:
    """The number of this process and of all; (0, 1) where there is one."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def share_of(size: int, rank: int, world: int) -> slice:
    """The rows of a batch of that size that a process takes; they differ by one at most.

    >>> [share_of(5, rank, 2) for rank in range(2)]
    [slice(0, 2, None), slice(2, 5, None)]
    """
    return slice(size * rank // world, size * (rank + 1) // world)


def summed(module: nn.Module, weight: float) -> None:
    """Replace every gradient by the sum over all processes, each weighted by its share of the batch."""
    if members()[1] == 1:
        return
    for parameter in module.parameters():
        if parameter.grad is None:  # it saw no rows; the others wait for it all the same
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad.mul_(weight)
        dist.all_reduce(parameter.grad)


def total(values: list[float]) -> list[float]:
    """The sums over all processes."""
    if members()[1] == 1:
        return values
    where = "cuda" if dist.get_backend() == "nccl" else "cpu"
    shared = torch.tensor(values, dtype=torch.float64, device=where)
    dist.all_reduce(shared)
    return [float(value) for value in shared]
