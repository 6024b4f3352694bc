"""Signs that a figure of the membership game says little about the model."""

from redoubt.attacks.membership import Shadows
from redoubt.games.membership import Told, auc
from redoubt.records import ShadowModels, Sign, SignName

BLIND_LEVEL = 0.999  # that members and others differ without the model is said when it is this sure
BLIND_AUC = 0.03  # and when they differ by so much at least
UNLIKE = 0.10  # by how much shadow models may be righter or wronger than the target


def blind_sign(shadows: Shadows, members: int) -> Sign | None:
    """Whether who never saw the target can tell members from others (Das et al. 2024, "Blind baselines beat membership
    inference attacks"): by how sure models are of a record that were not trained on it.

    It sees differences in difficulty only; members and others may differ in other ways.
    """
    outside = (~shadows.inside).double()
    mean = (shadows.confidence * outside).sum(dim=0) / outside.sum(dim=0)
    found = auc(Told(mean[:members], mean[members:]), BLIND_LEVEL)
    if found.low <= 0.5 <= found.high or abs(found.value - 0.5) < BLIND_AUC:
        return None
    return Sign(
        name=SignName.SPLIT_DIFFERS,
        explanation=(
            f"Members and others differ without the model: by how hard they are for models that were trained on "
            f"neither, they are told apart with an AUC of {found.value:.3f}, where records of one kind have 0.5."
        ),
    )


def unlike_sign(models: ShadowModels) -> Sign | None:
    """Whether shadow models are so unlike the target that what they teach may not hold of it."""
    gaps = {
        "records that they were trained on": (models.inside, models.target_inside),
        "records that they were not trained on": (models.outside, models.target_outside),
    }
    worst = max(gaps, key=lambda name: abs(gaps[name][0] - gaps[name][1]))
    mine, its = gaps[worst]
    if abs(mine - its) <= UNLIKE:
        return None
    return Sign(
        name=SignName.SHADOWS_DIFFER,
        explanation=(
            f"The shadow models are unlike the target: of {worst} they answer {mine:.1%} rightly, the target {its:.1%}."
        ),
    )
