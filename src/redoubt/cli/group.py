"""The processes that `torchrun` starts, which share one training."""

import os
from types import TracebackType
from typing import Self

from redoubt.records import PolicyError


class Group:
    """Joins the other processes while it is open; where `torchrun` did not start this one, there are none.

    Attributes:
        first: whether this is the process that writes and prints.
        device: the torch device of this process: of several GPUs, each process takes its own.
    """

    def __init__(self, device: str) -> None:
        self._many = int(os.environ.get("WORLD_SIZE", "1")) > 1
        self.first = not self._many or os.environ.get("RANK") == "0"
        self.device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if self._many and device == "cuda" else device

    def __enter__(self) -> Self:
        if self._many:
            import torch.distributed as dist

            if not dist.is_available():
                raise PolicyError(
                    "this torch cannot train in several processes", remedy="run redoubt harden without torchrun"
                )
            dist.init_process_group("nccl" if self.device.startswith("cuda") else "gloo")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._many:
            import torch.distributed as dist

            if kind is None:
                dist.barrier()  # or the one that is done first takes the group away from the others
            dist.destroy_process_group()
