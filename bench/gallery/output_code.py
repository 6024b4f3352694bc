"""Each class has a code word; four networks give the bits, and the class whose word correlates best is the answer.

Verma and Swami 2019, "Error correcting output codes improve probability estimation and adversarial robustness of deep
neural networks": rows of a Hadamard matrix as words, tanh at the end of every bit, an ensemble of networks for a few
bits each, trained on the hinge loss, and probabilities in proportion to the correlation where that is above 0.  They
measured it with PGD and Carlini-Wagner on those probabilities.  Broken by Tramer et al. 2020 (section 5.10), who found
that the logarithms, the saturated tanh and the zeros masked the gradient.
"""

import torch
from torch import Tensor, nn

from gallery.attack import THROUGH, margins
from gallery.defence import Aim, Defence, Ground
from gallery.network import network, train

BITS, NETWORKS, CLASSES = 16, 4, 10
_IMAGES = 15000


def hadamard(size: int) -> Tensor:
    """Sylvester's matrix of 1 and -1, `[size, size]`, size a power of two."""
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], dim=1), torch.cat([matrix, -matrix], dim=1)])
    return matrix


class OutputCode(nn.Module):
    """Bits by several networks, probabilities by correlation with the words, as logarithms."""

    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            nn.Sequential(*list(network())[:-1], nn.Linear(128, BITS // NETWORKS)) for _ in range(NETWORKS)
        )
        self.register_buffer("words", hadamard(BITS)[1 : CLASSES + 1])

    def heights(self, x: Tensor) -> Tensor:
        """The bits before tanh, `[B, BITS]`."""
        return torch.cat([member(x) for member in self.members], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        likeness = (torch.tanh(self.heights(x)) @ self.words.T).clamp_min(0) + 1e-6
        return (likeness / likeness.sum(dim=1, keepdim=True)).log()


def fit(module: nn.Module, ground: Ground) -> None:
    """Every network learns its bits of the words."""
    for number, member in enumerate(module.members):
        own = slice(number * BITS // NETWORKS, (number + 1) * BITS // NETWORKS)
        bits = module.words[:, own][ground.y[:_IMAGES]]
        train(
            member,
            ground.x[:_IMAGES],
            bits,
            epochs=4,
            seed=number,
            loss=lambda found, wanted: (1 - found * wanted).clamp_min(0).mean(),
        )


DEFENCE = Defence(
    name="output_code",
    paper="Error-correcting output code (Verma and Swami 2019)",
    build=OutputCode,
    fit=fit,
    authors=THROUGH,
    by_hand=Aim(
        "margin of the correlation before tanh",
        lambda defended, _: margins(lambda x: defended.heights(x) @ defended.words.T),
        steps=100,
        restarts=2,
        oblivious=False,
    ),
    radius=0.15,
)
