"""Defensive distillation: a network taught at temperature 100 answers at temperature 1, with logits so far apart that
float32 rounds the gradient of cross-entropy to zero.

Papernot, McDaniel, Wu, Jha, Swami 2016, "Distillation as a defense to adversarial perturbations", section 4: teacher
and student of one architecture, both at T = 100, the student on the teacher's probabilities.  They measured it with the
Jacobian saliency map through the softmax; in an Linf ball the same fault stops gradients of cross-entropy.  Broken by
Carlini and Wagner 2017 with losses over logits.
"""

import torch
import torch.nn.functional as F
from torch import nn

from gallery.attack import THROUGH, margins
from gallery.defence import Aim, Defence, Ground
from gallery.network import network, train

TEMPERATURE = 100.0
_IMAGES = 20000


def fit(module: nn.Module, ground: Ground) -> None:
    """A teacher at T, then the student on its soft labels, from logits divided by T."""
    x, y = ground.x[:_IMAGES], ground.y[:_IMAGES]
    torch.manual_seed(1)
    teacher = network()
    train(
        teacher,
        x,
        y,
        seed=1,
        rate=1e-2,
        loss=lambda logits, y: F.cross_entropy(logits / TEMPERATURE, y),
    )
    with torch.no_grad():
        soft = torch.cat([(teacher(part) / TEMPERATURE).softmax(dim=1) for part in x.split(1000)])
    train(
        module,
        x,
        soft,
        seed=2,
        rate=1e-2,
        loss=lambda logits, p: F.cross_entropy(logits / TEMPERATURE, p),
    )


DEFENCE = Defence(
    name="distillation",
    paper="Defensive distillation, T = 100 (Papernot et al. 2016)",
    build=network,
    fit=fit,
    authors=THROUGH,
    by_hand=Aim(
        "PGD on the margin of logits", lambda defended, _: margins(defended), steps=60, restarts=2, oblivious=False
    ),
    radius=0.15,
)
