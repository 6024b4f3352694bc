"""Networks of the zoo: ordinary PyTorch modules for MNIST, images `[B, 1, 28, 28]` in 0..1 to logits `[B, 10]`."""

import torch
from torch import Tensor, nn


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


class Centre(nn.Module):
    """Shift each image `[B, 1, H, W]` so that its centre of mass lies in the middle, whatever shift it came with.

    What the frame has cut off is not brought back.  An image without mass stays.
    """

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        mass = x.sum(dim=(1, 2, 3)).clamp_min(1e-6)
        rows = torch.linspace(1 / height - 1, 1 - 1 / height, height, device=x.device, dtype=x.dtype)
        columns = torch.linspace(1 / width - 1, 1 - 1 / width, width, device=x.device, dtype=x.dtype)
        down, right = (x.sum(dim=(1, 3)) @ rows) / mass, (x.sum(dim=(1, 2)) @ columns) / mass
        where = torch.eye(2, 3, device=x.device, dtype=x.dtype).repeat(len(x), 1, 1)
        where = where + torch.nn.functional.pad(torch.stack([right, down], dim=1).unsqueeze(2), (2, 0))
        grid = torch.nn.functional.affine_grid(where, list(x.shape), align_corners=False)
        return torch.nn.functional.grid_sample(x, grid, align_corners=False)


def centred() -> nn.Module:
    """Centres the image by its mass, then three convolutions with batch normalisation, two linear layers."""
    return nn.Sequential(
        Centre(),
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
    )
