"""What was done with private records: one frozen value for each kind of mechanism.

Neighbours differ in one record, added or removed.  A *noise multiplier* is the noise over the most that one record can
change: the standard deviation over the L2 sensitivity for Gaussian noise, the scale over the L1 sensitivity for Laplace
noise.  An event's meaning never changes; another mechanism is another event.
"""

from typing import Annotated, Literal

from pydantic import Field

from redoubt.records.base import Name, Record
from redoubt.records.decision import Digest

MOST_STEPS = 10_000_000
MOST_EVENTS = 1000
LEAST_NOISE, MOST_NOISE = 1e-2, 1e6

Multiplier = Annotated[float, Field(ge=LEAST_NOISE, le=MOST_NOISE)]
Times = Annotated[int, Field(ge=1, le=MOST_STEPS)]
EVERYONE = "everyone"


class _Event(Record):
    on: Name = Field(default=EVERYONE, description="The group of records that it looked at.")
    what: str = Field(default="", max_length=200, description="In the words of whoever did it.")


class PoissonGaussian(_Event):
    """Steps of DP-SGD (Abadi et al. 2016): each record enters each step by itself with probability `rate`.

    The sum over those that entered, each clipped, is released with Gaussian noise.  A sampler that shuffles, or that
    draws batches of a fixed size, is another mechanism, and this event does not cover it.
    """

    kind: Literal["poisson-gaussian"] = "poisson-gaussian"
    rate: Annotated[float, Field(gt=0, le=1)]
    noise_multiplier: Multiplier
    steps: Times


class GaussianRelease(_Event):
    """A statistic of all records, released with Gaussian noise, so many times."""

    kind: Literal["gaussian-release"] = "gaussian-release"
    noise_multiplier: Multiplier
    times: Times = 1


class LaplaceRelease(_Event):
    """A statistic of all records, released with Laplace noise, so many times."""

    kind: Literal["laplace-release"] = "laplace-release"
    noise_multiplier: Multiplier
    times: Times = 1


class ThresholdCheck(_Event):
    """Whether a count over the records, with Gaussian noise, passes a threshold: an answer of one bit.

    The confident aggregator of PATE asks it before each vote (Papernot et al. 2018, section 4.2).  Counted as if the
    noisy count itself had been released, whatever the answer.
    """

    kind: Literal["threshold-check"] = "threshold-check"
    noise_multiplier: Multiplier
    times: Times


class NoisyMax(_Event):
    """The class with the most votes, each count with Gaussian noise of standard deviation `deviation`.

    One record can move one vote from a class to another, which is an L2 sensitivity of sqrt(2) (Papernot et al. 2018,
    section 4.1).  Counted as if the noisy counts themselves had been released: independent of the data.
    """

    kind: Literal["noisy-max"] = "noisy-max"
    deviation: Multiplier
    times: Times


class DataDependent(_Event):
    """Votes of teachers, counted by how they fell (Papernot et al. 2018): a Renyi divergence at one order.

    It is true of these records and their neighbours, not of all records there could be.  Unless `released`, `cost` is
    itself a secret, and a ledger that holds it must not be published; released, it is an upper bound from a noised sum,
    which is too low with the chance of two standard deviations.  At lower orders it costs no more; at higher ones
    nothing is known.
    """

    kind: Literal["data-dependent"] = "data-dependent"
    part: Literal["threshold-check", "noisy-max", "answers", "release"]
    order: Annotated[float, Field(gt=1, le=512)]
    cost: Annotated[float, Field(ge=0, le=1e6)]
    times: Times = 1
    released: bool = False


class DeclaredSearch(_Event):
    """Hyper-parameters were chosen among `settings` on the private records, and that is *not* accounted for.

    It costs nothing in any figure; every report says that the figures hold only for whoever does not learn from the
    choice.
    """

    kind: Literal["declared-search"] = "declared-search"
    settings: Annotated[int, Field(ge=1, le=MOST_STEPS)]


class PublicSearch(_Event):
    """Hyper-parameters were chosen among `settings` without the private records: on public ones, or from a paper."""

    kind: Literal["public-search"] = "public-search"
    settings: Annotated[int, Field(ge=1, le=MOST_STEPS)]


class PublicTraining(_Event):
    """Weights were learnt from public data, and the private records were not looked at: features, say.

    It costs nothing in any figure, as long as the data is what it is said to be: no private record is among it.
    """

    kind: Literal["public-training"] = "public-training"
    data: str = Field(min_length=1, max_length=200, description="Which public data: its name, and where it is from.")
    digest: Digest = Field(description="Of the public inputs and labels that were learnt from.")


Mechanism = Annotated[
    PoissonGaussian | GaussianRelease | LaplaceRelease | ThresholdCheck | NoisyMax, Field(discriminator="kind")
]


class AccountedSearch(_Event):
    """A random number of runs, each with settings drawn anew; only the best run is released.

    The number is drawn from the truncated negative binomial distribution with mean `mean` and shape `shape`
    (Papernot and Steinke 2022, theorem 2): 1 is geometric, 0 logarithmic.  Every run costs at most `run`.  A search
    that tries a fixed number of settings is not this; write each of its runs into the ledger instead.
    """

    kind: Literal["accounted-search"] = "accounted-search"
    mean: Annotated[float, Field(gt=1, le=1e6)]
    shape: Annotated[float, Field(ge=0, le=1e3)] = 1.0
    run: Annotated[tuple[Mechanism, ...], Field(min_length=1, max_length=MOST_EVENTS)]


Event = Annotated[
    PoissonGaussian
    | GaussianRelease
    | LaplaceRelease
    | ThresholdCheck
    | NoisyMax
    | DataDependent
    | AccountedSearch
    | DeclaredSearch
    | PublicSearch
    | PublicTraining,
    Field(discriminator="kind"),
]
"""All that a ledger may hold.  Closed: an accountant that does not know what was done cannot say what it cost."""

RENYI_ONLY = (DataDependent, AccountedSearch)
"""Events that only Renyi divergences count."""

FREE = (DeclaredSearch, PublicSearch, PublicTraining)
"""Events without a cost of their own."""

KINDS = (
    "poisson-gaussian",
    "gaussian-release",
    "laplace-release",
    "threshold-check",
    "noisy-max",
    "data-dependent",
    "accounted-search",
    "declared-search",
    "public-search",
    "public-training",
)
"""Their names in a file."""
