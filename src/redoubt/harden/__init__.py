"""Model to stronger model, and its price."""

from redoubt.harden.adversarial import Epoch
from redoubt.harden.run import Hardened, harden

__all__ = ["Epoch", "Hardened", "harden"]
