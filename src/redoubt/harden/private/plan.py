"""What DP-SGD does: the numbers that its guarantee and its course hang on."""

from dataclasses import dataclass, replace

from redoubt.bounds.privacy.events import EVERYONE, LEAST_NOISE, MOST_NOISE, MOST_STEPS, PoissonGaussian
from redoubt.records import PolicyError


@dataclass(frozen=True)
class Plan:
    """DP-SGD (Abadi et al. 2016, algorithm 1), with momentum.

    Each step sums the gradients of the records that entered it, each scaled down to L2 norm `clip` at most, adds
    Gaussian noise of standard deviation `noise_multiplier * clip` to every coordinate, and divides by the batch size
    that is *expected*: what is divided by must not depend on who entered.

    Attributes:
        rate: probability of each record to enter each step, in (0, 1].
        noise_multiplier: sigma; in [0.01, 1e6].
        steps: how many.
        clip: C; above 0.
        learning_rate: above 0.
        momentum: in [0, 1).
        average: the share of the steps, counted from the last, whose weights are averaged into the result, in [0, 1); 0
            gives the last weights.  Averaging looks at no record, and costs no privacy.
    """

    rate: float
    noise_multiplier: float
    steps: int
    clip: float
    learning_rate: float
    momentum: float = 0.9
    average: float = 0.0

    def __post_init__(self) -> None:
        wrong = {
            "rate": not 0 < self.rate <= 1,
            "noise_multiplier": not LEAST_NOISE <= self.noise_multiplier <= MOST_NOISE,
            "steps": not 1 <= self.steps <= MOST_STEPS,
            "clip": not 0 < self.clip < float("inf"),
            "learning_rate": not 0 < self.learning_rate < float("inf"),
            "momentum": not 0 <= self.momentum < 1,
            "average": not 0 <= self.average < 1,
        }
        for name, is_wrong in wrong.items():
            if is_wrong:
                raise PolicyError(f"{name} is {getattr(self, name)!r}", remedy="see the ranges in Plan's description")

    def with_noise(self, noise_multiplier: float) -> "Plan":
        """The same course with other noise."""
        return replace(self, noise_multiplier=noise_multiplier)

    def event(self, on: str = EVERYONE, what: str = "") -> PoissonGaussian:
        """What a training by this plan writes into the ledger."""
        return PoissonGaussian(
            rate=self.rate, noise_multiplier=self.noise_multiplier, steps=self.steps, on=on, what=what
        )
