"""Quarantine: learn the trigger from inputs that arrive, then train it away (NNoculation, Veldanda et al. 2021).

1. a treated copy: fine-tuned on clean examples, half of them under heavy noise, so that it half forgets the backdoor
2. at run time, inputs on which the two disagree are set aside
3. what all of these have in common, and clean inputs have not, is the trigger
4. it is stamped on clean examples with right labels, and the model is trained on those

The paper translates clean images into stamped ones by a CycleGAN (step 3).  Here the trigger is taken for a pattern at
a fixed place: pixels that hardly differ among the inputs set aside, though they do among clean ones.  Warps, blends
over a whole image and notes that wander are not found so.
"""

import copy

import torch
from torch import Generator, Tensor, nn

from redoubt.attacks.backdoor import Course, Laid, fit
from redoubt.data import Dataset
from redoubt.harden.repair.held import halves
from redoubt.harden.repair.prune import TUNING, Pruned
from redoubt.harden.repair.unlearn import unlearn

_ASKED = 500
_FEWEST = 10


def treated(module: nn.Module, clean: Dataset, noise: float, course: Course = TUNING, seed: int = 0) -> nn.Module:
    """A copy fine-tuned with half of each batch under uniform noise that replaces a share of the pixels.

    Args:
        module: the suspect; it stays as it is.
        clean: trusted examples.
        noise: share of the pixels that are replaced by values of the range that the examples span, 0..1.
        course: of the fine-tuning.
        seed: of the halves; only the first trains.
    """
    mine = copy.deepcopy(module)
    train, _ = halves(clean, seed)
    low, high = float(train.x.min()), float(train.x.max())

    def shaken(x: Tensor, y: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
        hit = torch.rand(x.shape, generator=rng) < noise
        hit[torch.rand(len(x), generator=rng) < 0.5] = False
        return torch.where(hit, low + (high - low) * torch.rand(x.shape, generator=rng), x), y

    return fit(mine, train, course, shaken)


@torch.no_grad()
def set_aside(module: nn.Module, other: nn.Module, x: Tensor) -> Tensor:
    """Of N inputs, those that two modules call differently, bool `[N]`."""
    return torch.cat([module(part).argmax(dim=1) != other(part).argmax(dim=1) for part in torch.split(x, _ASKED)])


def common_pattern(aside: Tensor, clean: Tensor, ratio: float = 0.35) -> Laid | None:
    """The pattern that most inputs set aside have in common, and clean ones have not.

    At each pixel, the middle half of the values set aside is compared with the spread of clean ones, so that up to a
    quarter of the inputs may have been set aside by mistake.

    Args:
        aside: `[M, C, H, W]`; fewer than 10 tell nothing.
        clean: `[N, C, H, W]`.
        ratio: a pixel belongs to the pattern if its middle half is that much narrower than the clean spread, or lies
            where hardly a clean value does.

    Returns:
        The trigger; None if there is none.
    """
    if len(aside) < _FEWEST:
        return None
    first, middle, third = aside.quantile(torch.tensor([0.25, 0.5, 0.75]), dim=0)
    width = clean.max() - clean.min()
    alike = (third - first) <= ratio * clean.std(dim=0) + 1e-3 * width
    # Where clean inputs never vary either, as at the black edge of a digit, being alike says nothing.
    strange = (middle - clean.median(dim=0).values).abs() > 0.2 * width
    mask = (alike & strange).any(dim=0, keepdim=True).to(clean)
    return Laid(mask, middle) if mask.any() else None


def retrain(module: nn.Module, other: nn.Module, arrived: Tensor, clean: Dataset, seed: int = 0) -> Pruned | None:
    """Steps 2 to 4: from the inputs that arrived, the trigger; from the trigger, a repaired model.

    Args:
        module: the suspect, which served; it stays as it is.
        other: its treated copy.
        arrived: unlabelled inputs `[N, C, H, W]`, some of them stamped.
        clean: trusted examples.
        seed: of the halves.

    Returns:
        The repaired copy; None if the inputs set aside have nothing in common.
    """
    aside = arrived[set_aside(module, other, arrived)]
    trigger = common_pattern(aside, clean.x)
    return None if trigger is None else unlearn(module, [trigger], clean, seed=seed)
