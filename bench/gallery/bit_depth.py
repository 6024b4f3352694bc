"""Fewer grey levels before the network: rounding, whose gradient is zero.

Xu, Evans, Qi 2018, "Feature squeezing", section 3.1, and Guo et al. 2018, section 3, who use 3 bits; the network is the
undefended one.  Both measured it with attacks made on the network alone.  Broken by He et al. 2017 and Athalye et al.
2018.
"""

import torch
from torch import Tensor, nn

from gallery.attack import LEAST, margins, straight
from gallery.defence import Aim, Defence, Ground
from gallery.network import network

BITS = 3


class BitDepth(nn.Module):
    """Images in 0..1 rounded to 2^bits levels."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, x: Tensor) -> Tensor:
        steps = 2**self.bits - 1
        return torch.round(x * steps) / steps

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


class BitDepthDefence(nn.Module):
    """Round, then classify."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze = BitDepth(BITS)
        self.network = network()

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.squeeze(x))


def fit(module: nn.Module, ground: Ground) -> None:
    """The undefended network serves as it is."""
    module.network.load_state_dict(ground.plain.state_dict())


DEFENCE = Defence(
    name="bit_depth",
    paper="Bit depth, 3 bits (Xu et al. 2018; Guo et al. 2018)",
    build=BitDepthDefence,
    fit=fit,
    authors=LEAST,
    by_hand=Aim(
        "BPDA, identity",
        lambda defended, _: margins(lambda x: defended.network(straight(defended.squeeze)(x))),
        steps=60,
        restarts=3,
        oblivious=False,
    ),
)
