"""The memorisation game's strategies: exposure of canaries, extraction of training text, and model inversion."""

from redoubt.attacks.memorisation.canary import Canary, Format, draw_canaries, plant
from redoubt.attacks.memorisation.exposure import Exposures, exposures
from redoubt.attacks.memorisation.extract import Claim, Extraction
from redoubt.attacks.memorisation.inversion import Components, Inversion
from redoubt.attacks.memorisation.likelihood import bits
from redoubt.attacks.memorisation.rank import distinct, suspicion
from redoubt.attacks.memorisation.sample import Sampler

__all__ = [
    "Canary",
    "Claim",
    "Components",
    "Exposures",
    "Extraction",
    "Format",
    "Inversion",
    "Sampler",
    "bits",
    "distinct",
    "draw_canaries",
    "exposures",
    "plant",
    "suspicion",
]
