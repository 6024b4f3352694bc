"""Each query is put to the vote of a few networks out of several, drawn anew for each image.

Sengupta, Chakraborti, Kambhampati 2019, "MTDeep: boosting the security of deep neural nets against adversarial attacks
with moving target defense", who draw one network per query, with the majority vote of Strauss et al. 2017, "Ensemble
methods as a defense to adversarial perturbations against deep neural networks", and Sen et al. 2020 (EMPIR).  They
measured it with FGSM, PGD and Carlini-Wagner made on one member.  Votes have no gradient and the draw is random; EMPIR
was broken by Tramer et al. 2020 with the members' mean.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gallery.attack import UNDEFENDED, margin
from gallery.defence import Aim, Defence, Ground, Loss
from gallery.network import network, train

MEMBERS = 5
VOTERS = 3
_IMAGES = 15000


class Draw(nn.Module):
    """Votes of all members `[M, B, K]` to those of `voters` of them, drawn for each image, counted: `[B, K]`."""

    def __init__(self, voters: int) -> None:
        super().__init__()
        self.voters = voters

    def forward(self, votes: Tensor) -> Tensor:
        members, count = votes.shape[:2]
        drawn = torch.rand(members, count).topk(self.voters, dim=0).indices.to(votes.device)
        asked = torch.zeros(members, count, device=votes.device).scatter(0, drawn, 1.0)
        return (votes * asked[:, :, None]).sum(dim=0)

    def extra_repr(self) -> str:
        return f"voters={self.voters}"


class RandomVote(nn.Module):
    """Every member's answer counts one vote, if the member is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList(network() for _ in range(MEMBERS))
        self.draw = Draw(VOTERS)

    def forward(self, x: Tensor) -> Tensor:
        answers = torch.stack([member(x).argmax(dim=1) for member in self.members])
        return self.draw(F.one_hot(answers, 10).to(x))


def fit(module: nn.Module, ground: Ground) -> None:
    """The undefended network, and others from other seeds."""
    module.members[0].load_state_dict(ground.plain.state_dict())
    for seed, member in enumerate(module.members[1:], 1):
        train(member, ground.x[:_IMAGES], ground.y[:_IMAGES], epochs=3, seed=seed)


def _each(module: nn.Module) -> Loss:
    """The members' margins, none counted beyond 1, so that those still right are worked on."""
    return lambda x, y: torch.stack([margin(member(x), y).clamp(max=1.0) for member in module.members]).mean(dim=0)


DEFENCE = Defence(
    name="random_vote",
    paper="Votes of 3 of 5 networks, drawn at random (Sengupta et al. 2019; Sen et al. 2020)",
    build=RandomVote,
    fit=fit,
    authors=UNDEFENDED,
    by_hand=Aim(
        "every member's margin in the vote's stead",
        lambda defended, _: _each(defended),
        steps=60,
        restarts=2,
        oblivious=False,
    ),
    radius=0.15,
)
