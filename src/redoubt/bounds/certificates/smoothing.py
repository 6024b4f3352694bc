"""Randomised smoothing: a classifier whose answer in an L2 ball is certain but for a stated chance (Cohen et al. 2019).

The smoothed classifier answers what the base classifier mostly answers under Gaussian noise.  What is certified is the
smoothed classifier, not the base; the certificate is wrong with probability at most `alpha` for each input, and it
takes for granted that the noise is drawn as it says and that the same base classifier answers each draw.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.special import betaincinv, ndtri
from scipy.stats import binomtest
from torch import Generator, Tensor, nn

ABSTAINED = -1


@dataclass(frozen=True)
class Certified:
    """What was certified of N inputs.

    Attributes:
        label: int64 `[N]`, the smoothed classifier's answer; `ABSTAINED` where it is not certain.
        radius: float64 `[N]`, L2: the answer is the same everywhere within it; 0 where it abstained.
    """

    label: Tensor
    radius: Tensor

    def accuracy(self, y: Tensor, radius: float) -> float:
        """Share of inputs whose label is right and certified at that radius; an abstention is none."""
        return float(((self.label == y) & (self.radius >= radius)).double().mean())


@dataclass(frozen=True)
class Smoothed:
    """A base classifier under Gaussian noise.

    Attributes:
        base: inputs `[B, *shape]` to labels, int64 `[B]`.  It sees noisy inputs outside the input range, unclipped.
        sigma: standard deviation of the noise, in the units of the input range.
        classes: number of classes.
        batch: noisy inputs that are asked at once.
    """

    base: Callable[[Tensor], Tensor]
    sigma: float
    classes: int
    batch: int = 500

    def counts(self, x: Tensor, draws: int, rng: Generator) -> Tensor:
        """How often each class is answered to one input `[*shape]` under that many draws of noise, int64 `[K]`."""
        found = torch.zeros(self.classes, dtype=torch.int64)
        for start in range(0, draws, self.batch):
            size = min(self.batch, draws - start)
            noise = torch.randn((size, *x.shape), generator=rng, dtype=x.dtype) * self.sigma
            labels = self.base(x[None] + noise.to(x.device)).cpu()
            if labels.numel() and (int(labels.min()) < 0 or int(labels.max()) >= self.classes):
                labels = labels[(labels >= 0) & (labels < self.classes)]  # a refusal is a vote for nobody
            found += torch.bincount(labels, minlength=self.classes)
        return found

    def predict(self, x: Tensor, draws: int, alpha: float, rng: Generator) -> Tensor:
        """The smoothed classifier's answers to `[N, *shape]`, int64 `[N]`: `Predict` of the paper, section 3.2.1.

        Wrong about the smoothed classifier's answer with probability at most `alpha` for each; abstains otherwise.
        """
        labels = torch.full((len(x),), ABSTAINED)
        for row, one in enumerate(x):
            (first, second), (top, _) = self.counts(one, draws, rng).topk(2)
            total = int(first + second)
            if total and binomtest(int(first), total, 0.5).pvalue <= alpha:
                labels[row] = top
        return labels

    def certify(self, x: Tensor, select: int, draws: int, alpha: float, rng: Generator) -> Certified:
        """Answers to `[N, *shape]` and the L2 radii in which they hold: `Certify` of the paper, section 3.2.2.

        Args:
            x: inputs.
            select: draws by which the class is guessed.
            draws: fresh draws by which its probability is bounded.
            alpha: the chance, for each input, that what is certified does not hold.
            rng: the noise, a CPU generator.
        """
        if not 0 < alpha < 1 or select < 1 or draws < 1:
            raise ValueError(
                f"alpha {alpha}, select {select}, draws {draws}: expected 0 < alpha < 1 and counts above 0"
            )
        labels = torch.full((len(x),), ABSTAINED)
        radii = torch.zeros(len(x), dtype=torch.float64)
        for row, one in enumerate(x):
            top = int(self.counts(one, select, rng).argmax())
            least = at_least(int(self.counts(one, draws, rng)[top]), draws, alpha)
            if least > 0.5:
                labels[row], radii[row] = top, self.sigma * float(ndtri(least))
        return Certified(labels, radii)


def at_least(successes: int, trials: int, alpha: float) -> float:
    """The one-sided lower bound on a probability that holds with confidence 1 - alpha (Clopper and Pearson 1934).

    >>> round(at_least(100, 100, 0.001), 4), at_least(0, 10, 0.001)
    (0.9333, 0.0)
    """
    return 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, alpha))


def noisy_loss(module: nn.Module, x: Tensor, y: Tensor, sigma: float, rng: Generator) -> Tensor:
    """Cross-entropy under one draw of Gaussian noise for each input: the training that goes with smoothing.

    Args:
        module: logits `[B, K]` of `[B, *shape]`; trained in whatever mode it is.
        x: inputs `[B, *shape]`; the noise is not clipped to their range, as it is not in `Smoothed`.
        y: labels, int64 `[B]`.
        sigma: that of the smoothed classifier to be.
        rng: the noise, a CPU generator.
    """
    noise = torch.randn(x.shape, generator=rng, dtype=x.dtype).to(x.device)
    return F.cross_entropy(module(x + sigma * noise), y)


def largest_radius(sigma: float, draws: int, alpha: float) -> float:
    """The radius that is certified when every draw agrees: no input can have a larger one.

    >>> round(largest_radius(0.5, 10_000, 0.001), 3)
    1.599
    """
    return sigma * float(ndtri(math.pow(alpha, 1 / draws)))
