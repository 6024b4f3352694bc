"""Exposure: how far a planted secret stands ahead of all others like it, in bits.

`exposure = log2(number of secrets) - log2(rank)`, the rank among all secrets of the format by how likely the model
holds them (Carlini et al. 2019, definitions 2 and 4).  Of a model that never saw the secret it is at least x with
probability 2^-x: 1 bit in the median, 1.44 in the mean.

| | when | source |
|---|---|---|
| `exact` | every secret can be listed | section 4.3 |
| `estimated` | there are too many: a skew-normal distribution is fitted to secrets drawn at random | section 4.4 |

What it does not say: that a secret with little exposure cannot be got by other means than asking for likelihoods.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kstest, skewnorm
from torch import Generator, Tensor

from redoubt.attacks.memorisation.canary import MOST_LISTED, Format
from redoubt.attacks.memorisation.likelihood import bits
from redoubt.models.language import LanguageModel
from redoubt.records import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Exposures:
    """What secrets of one format are exposed by.

    Attributes:
        bits: float64 `[N]`, one for each secret, 0 to log2 of the number of secrets.
        method: `exact` or `estimated`.
        compared: secrets that each was compared with.
        misfit: of the estimate, the Kolmogorov-Smirnov distance between the fitted distribution and a second sample
            that it was not fitted to; 0 of exact ranks.
    """

    bits: Tensor
    method: str
    compared: int
    misfit: float = 0.0


def exposures(
    model: LanguageModel,
    form: Format,
    secrets: Sequence[str],
    rng: Generator,
    sample: int = 10_000,
    listed: int = 10_000,
) -> Exposures:
    """The exposure of each secret: exact where there are at most `listed` secrets, estimated elsewhere.

    Raises:
        DataError: a secret is not of this format, or the format's text is longer than the model's context.
    """
    for secret in secrets:
        if not form.holds(secret):
            raise DataError(f"'{secret}' is no secret of this format", remedy="give the format it was drawn from")
    if len(model.encode(form.text(form.secret(0)))) > model.context + 1:
        raise DataError(
            f"canaries are longer than the {model.context} tokens that the model looks at",
            remedy="give a format with less text around the secret",
        )
    own = bits(model, [form.text(secret) for secret in secrets])
    if form.size <= min(listed, MOST_LISTED):
        whole = bits(model, [form.text(form.secret(number)) for number in range(form.size)])
        return Exposures(_exact(own, whole), "exact", form.size)
    drawn = bits(model, [form.text(secret) for secret in form.draw(sample, rng)]).numpy()
    return _estimated(own.numpy(), drawn, form.size)


def _exact(own: Tensor, whole: Tensor) -> Tensor:
    """From bits `[N]` and those of all secrets `[R]`.  Equally likely secrets share the middle of their ranks."""
    ahead = (whole[None] < own[:, None] - 1e-9).sum(1)
    equal = (whole[None] <= own[:, None] + 1e-9).sum(1) - ahead
    return math.log2(len(whole)) - torch.log2(ahead + (equal + 1) / 2)


def _estimated(own: Floats, drawn: Floats, size: int) -> Exposures:
    fitted, other = drawn[::2], drawn[1::2]
    shape = skewnorm.fit(fitted)
    misfit = float(kstest(other, skewnorm(*shape).cdf).statistic)
    logs = np.array([_log_cdf(float(one), shape) for one in own]) / math.log(2)
    found = np.clip(-logs, 0.0, math.log2(size))
    return Exposures(torch.from_numpy(found), "estimated", len(drawn), misfit)


def _log_cdf(x: float, shape: tuple[float, float, float]) -> float:
    """The log of the distribution function far into its lower tail, where scipy's rounds to 0 or below.

    There the density falls off at least as fast as a normal one, so that the tail is its density over its slope.
    """
    direct = float(skewnorm.cdf(x, *shape))
    if direct > 1e-8:
        return math.log(direct)
    skew, place, scale = shape
    z = (x - place) / scale
    step = 1e-4 * max(1.0, abs(z))
    here = float(skewnorm.logpdf(z, skew))
    slope = (here - float(skewnorm.logpdf(z - step, skew))) / step
    return here - math.log(slope) if slope > 0 and math.isfinite(here) else -math.inf
