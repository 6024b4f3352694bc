"""JPEG compression before the network: a round trip through Pillow, which has no gradient.

Guo, Rana, Cisse, van der Maaten 2018, "Countering adversarial images using input transformations", section 3: quality
75 out of 100, here on an undefended network.  They measured it with FGSM, I-FGSM, DeepFool and Carlini-Wagner made on
the network alone.  Broken by Athalye et al. 2018 with BPDA.
"""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gallery.attack import LEAST, margins, straight
from gallery.defence import Aim, Defence, Ground
from gallery.network import network

QUALITY = 75


class Jpeg(nn.Module):
    """Images `[B, 1, H, W]` in 0..1 as JPEG gives them back; outside autograd."""

    def __init__(self, quality: int) -> None:
        super().__init__()
        self.quality = quality

    def forward(self, x: Tensor) -> Tensor:
        grey = (x.detach().cpu().numpy()[:, 0] * 255).round().clip(0, 255).astype(np.uint8)
        back = np.stack([self._round_trip(picture) for picture in grey])
        return torch.from_numpy(back.astype(np.float32) / 255)[:, None].to(x)

    def _round_trip(self, grey: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(grey).save(file, "JPEG", quality=self.quality)
        return np.asarray(Image.open(file))

    def extra_repr(self) -> str:
        return f"quality={self.quality}"


class JpegDefence(nn.Module):
    """Compress, then classify."""

    def __init__(self) -> None:
        super().__init__()
        self.jpeg = Jpeg(QUALITY)
        self.network = network()

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.jpeg(x))


def fit(module: nn.Module, ground: Ground) -> None:
    """The undefended network serves as it is."""
    module.network.load_state_dict(ground.plain.state_dict())


DEFENCE = Defence(
    name="jpeg",
    paper="JPEG, quality 75 (Guo et al. 2018)",
    build=JpegDefence,
    fit=fit,
    authors=LEAST,
    by_hand=Aim(
        "BPDA, identity",
        lambda defended, _: margins(lambda x: defended.network(straight(defended.jpeg)(x))),
        steps=60,
        restarts=3,
        oblivious=False,
    ),
)
