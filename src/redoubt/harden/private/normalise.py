"""Features on one scale, without looking at the records, or looking at them for a price (Tramer and Boneh 2021)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from redoubt.bounds.privacy.events import EVERYONE, LEAST_NOISE, MOST_NOISE, GaussianRelease
from redoubt.harden.private.randomness import PrivateRandom, random_of
from redoubt.records import DataError, PolicyError

_BLOCK = 1024
_LEAST_VARIANCE = 1e-5


def group_norm(features: Tensor, groups: int) -> Tensor:
    """Each row's channels, in `groups` groups, each brought to mean 0 and variance 1 within the row.

    A row is normalised by itself alone, so this costs no privacy (Tramer and Boneh 2021, section 2.2).

    Args:
        features: float32 `[N, C, H, W]`.
        groups: a divisor of C.

    Returns:
        float32 `[N, C, H, W]`.

    Raises:
        DataError: `groups` does not divide C.
    """
    if features.ndim != 4 or groups < 1 or features.shape[1] % groups:
        raise DataError(
            f"{groups} groups do not divide features {list(features.shape)}", remedy="choose a divisor of the channels"
        )
    return torch.cat([F.group_norm(rows, groups, eps=_LEAST_VARIANCE) for rows in torch.split(features, _BLOCK)])


@dataclass(frozen=True)
class NoisedStatistics:
    """Mean and variance of each channel over the records, with noise.

    Attributes:
        mean: float32 `[C]`.
        variance: float32 `[C]`, at least 0.
        events: for the ledger.
    """

    mean: Tensor
    variance: Tensor
    events: tuple[GaussianRelease, ...]

    def standardise(self, features: Tensor) -> Tensor:
        """`[N, C, H, W]` with the mean taken off and the deviation divided by; channels without variance become 0."""
        scale = (self.variance + _LEAST_VARIANCE).rsqrt() * (self.variance > 0)
        shape = (1, -1, 1, 1)
        return torch.cat([(x - self.mean.view(shape)) * scale.view(shape) for x in torch.split(features, _BLOCK)])


def noised_statistics(
    features: Tensor,
    mean_bound: float,
    square_bound: float,
    noise_multiplier: float,
    *,
    on: str = EVERYONE,
    insecure_seed: int | None = None,
) -> NoisedStatistics:
    """Channel statistics released with Gaussian noise (Tramer and Boneh 2021, section 2.2 and appendix B).

    Each record gives two vectors, the mean and the mean square of each channel over its pixels.  Both are scaled down
    to the bounds in L2 norm, summed over the records, and released with noise.  Bounds taken from the records' own
    norms would leak; take them from public data, or from what the features can be at all.  How many records there are
    counts as public.

    Args:
        features: float32 `[N, C, H, W]`.
        mean_bound: bound on the norm of the vector of means; above 0.
        square_bound: bound on the norm of the vector of mean squares; above 0.
        noise_multiplier: standard deviation of the noise over the bound, for both; in [0.01, 1e6].
        on: the group of records that `features` holds.
        insecure_seed: repeats a run exactly, for tests and benches: whoever knows it can take the noise off.

    Raises:
        DataError: there are no rows, or a feature is not finite.
        PolicyError: a bound or the noise is out of range.
    """
    _check_noise(min(mean_bound, square_bound), noise_multiplier)
    if features.ndim != 4 or not len(features):
        raise DataError(f"features are {list(features.shape)}", remedy="give [N, C, H, W], N above 0")
    random = random_of(insecure_seed)
    mean = _noised_mean(features, lambda x: x.mean((2, 3)), mean_bound, noise_multiplier, random)
    square = _noised_mean(features, lambda x: x.square().mean((2, 3)), square_bound, noise_multiplier, random)
    variance = (square - mean**2).clamp(min=0)
    event = GaussianRelease(noise_multiplier=noise_multiplier, times=2, on=on, what="channel means and mean squares")
    return NoisedStatistics(mean.float(), variance.float(), (event,))


@dataclass(frozen=True)
class NoisedCentre:
    """The mean of all records, with noise.

    Attributes:
        mean: float32 `[D]`.
        events: for the ledger.
    """

    mean: Tensor
    events: tuple[GaussianRelease, ...]

    def centre(self, features: Tensor) -> Tensor:
        """`[N, D]` with the mean taken off."""
        return features - self.mean


def noised_centre(
    features: Tensor, bound: float, noise_multiplier: float, *, on: str = EVERYONE, insecure_seed: int | None = None
) -> NoisedCentre:
    """The mean of the records, each scaled down to the bound, released with Gaussian noise.

    What all rows have in common tells no class from another, and takes up the room that clipping leaves.  After
    `group_norm` no row is longer than the square root of its length, which is a bound that looks at no record.  How
    many records there are counts as public.

    Args:
        features: float32 `[N, D]`.
        bound: on the L2 norm of a row; above 0.
        noise_multiplier: standard deviation of the noise over the bound; in [0.01, 1e6].
        on: the group of records that `features` holds.
        insecure_seed: repeats a run exactly, for tests and benches: whoever knows it can take the noise off.

    Raises:
        DataError: there are no rows, or a feature is not finite.
        PolicyError: the bound or the noise is out of range.
    """
    _check_noise(bound, noise_multiplier)
    if features.ndim != 2 or not len(features):
        raise DataError(f"features are {list(features.shape)}", remedy="give [N, D], N above 0")
    mean = _noised_mean(features, lambda x: x, bound, noise_multiplier, random_of(insecure_seed))
    return NoisedCentre(
        mean.float(), (GaussianRelease(noise_multiplier=noise_multiplier, on=on, what="mean of the features"),)
    )


def _noised_mean(
    features: Tensor, of: Callable[[Tensor], Tensor], bound: float, noise_multiplier: float, random: PrivateRandom
) -> Tensor:
    """The mean of `of(row)`, each scaled down to norm `bound` at most, with noise; float64."""
    total = torch.zeros(1, dtype=torch.float64)
    for rows in torch.split(features, _BLOCK):
        each = of(rows).double()
        if not bool(each.isfinite().all()):
            raise DataError("a feature is not finite", remedy="repair the features")
        total = total + (each * (bound / each.norm(dim=1, keepdim=True)).clamp(max=1)).sum(0)
    return (total + random.gaussians(len(total)) * (noise_multiplier * bound)) / len(features)


def _check_noise(bound: float, noise_multiplier: float) -> None:
    if bound <= 0 or not LEAST_NOISE <= noise_multiplier <= MOST_NOISE:
        raise PolicyError(
            f"bounds must be above 0, and the noise multiplier in [{LEAST_NOISE:g}, {MOST_NOISE:g}]",
            remedy="without noise there is no privacy",
        )
