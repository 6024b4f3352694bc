"""More examples than there are: training images turned and shifted at random."""

from torch import Generator, Tensor

from redoubt.models import Face
from redoubt.perturb import Turn
from redoubt.records import Augmentation, Place, PolicyError


def augmentation(asked: Augmentation, face: Face, place: Place | None = None) -> Turn:
    """What may happen to an image.

    Raises:
        PolicyError: the inputs are not images `[C, H, W]`.
    """
    if len(face.shape) != 3:
        raise PolicyError(
            f"augment turns and shifts images [C, H, W]; the inputs are {list(face.shape)}",
            place,
            remedy="remove `augment` under `harden` in the policy",
        )
    return Turn(asked.rotation, asked.translation, fill=face.low, high=face.high)


def augmented(x: Tensor, turn: Turn, rng: Generator) -> Tensor:
    """The images `[B, C, H, W]`, each turned and shifted by amounts of its own."""
    return turn.render(x, turn.sample(x, rng))
