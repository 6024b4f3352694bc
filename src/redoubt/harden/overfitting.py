"""Catastrophic overfitting (Wong et al. 2020, section 5): the model learns to fool its own short attack.

Within an epoch, accuracy under the training attack rises and accuracy under any longer attack falls to nothing.
"""

FALL = 0.1
"""How far accuracy under the longer attack must fall below the epoch before, ..."""
GAP = 0.15
"""... and stay behind accuracy under the training attack, to be called overfitting."""


def overfitted(under_own: float, under_longer: float, before: float | None) -> bool:
    """Whether an epoch brought catastrophic overfitting.

    Args:
        under_own: accuracy under the training attack, 0..1.
        under_longer: accuracy under an attack of many steps in the same set.
        before: the latter, after the epoch before in its own set; None if there was none.

    >>> overfitted(0.95, 0.02, before=0.80), overfitted(0.85, 0.78, before=0.80), overfitted(0.7, 0.3, before=0.3)
    (True, False, False)
    """
    return before is not None and under_longer < before - FALL and under_own > under_longer + GAP
