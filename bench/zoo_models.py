"""Networks of the zoo: ordinary PyTorch modules for MNIST, images `[B, 1, 28, 28]` in 0..1 to logits `[B, 10]`."""

from torch import nn

from redoubt.harden import Voting


def small() -> nn.Module:
    """Two strided 4x4 convolutions of 16 and 32 channels, two linear layers; 0.21 million weights."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def strided() -> nn.Module:
    """Two strided 4x4 convolutions of 32 and 64 channels, two linear layers; 0.84 million weights."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 256),
        nn.ReLU(),
        nn.Linear(256, 10),
    )


def voting() -> nn.Module:
    """Three 3x3 convolutions with batch normalisation, which vote over five shifts at test time."""
    return Voting(
        nn.Sequential(
            nn.Conv2d(1, 32, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, 128),
            nn.ReLU(),
            nn.Linear(128, 10),
        ),
        translation=1.0,
    )
