"""Networks of the bench that are trained for certificates: by interval bounds, and under Gaussian noise."""

import json
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mnist_model import build
from redoubt.bounds import ibp_loss, ibp_weights, noisy_loss, radius_at, worst_logits
from redoubt.data.idx import read_idx

OUT = Path(".bench/prove")
HELD_OUT = 5_000  # of the training images: watched, not trained on; the test images are not looked at here
IBP = {"ibp-0.3": 0.4, "ibp-0.1": 0.2}  # by the radius it is judged at, the one it is trained at (Gowal et al. 2018)
NOISE = {"noise-0.5": 0.5, "noise-0.25": 0.25}


def images(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """MNIST as `[N, 1, 28, 28]` in 0..1, and labels."""
    raw = read_idx(folder, part)
    return torch.from_numpy(raw.x.copy()).float().reshape(-1, 1, 28, 28) / 255, torch.from_numpy(raw.y.copy()).long()


def load(name: str) -> nn.Module:
    """A trained network."""
    model = build().eval()
    model.load_state_dict(load_file(OUT / f"{name}.safetensors"))
    return model.requires_grad_(False)


def train(name: str, x: Tensor, y: Tensor, epochs: int = 30, batch: int = 256, seed: int = 0) -> None:
    """Train one network with Adam; the learning rate falls to a fifth after 70 % and again after 90 %."""
    torch.manual_seed(seed)
    model = build()
    if name in IBP:
        ibp_weights(model, (1, 28, 28))
    order = torch.randperm(len(x))
    watched, rows = order[:HELD_OUT], order[HELD_OUT:]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    began, steps = time.process_time(), -(-len(rows) // batch) * epochs
    step, lines = 0, []
    for epoch in range(1, epochs + 1):
        total = 0.0
        for part in rows[torch.randperm(len(rows))].split(batch):
            done = step / steps
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * (1 if done < 0.7 else 0.2 if done < 0.9 else 0.04)
            if name in IBP:
                share = radius_at(done, 0.02, 0.5)
                loss = ibp_loss(model, x[part], y[part], share * IBP[name], low=0, high=1, regularise=0.5 * (1 - share))
            else:
                loss = noisy_loss(model, x[part], y[part], NOISE[name], torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            total, step = total + float(loss.detach()) * len(part), step + 1
        lines.append(
            {"epoch": epoch, "loss": total / len(rows), "held_out": _watch(model, name, x[watched], y[watched])}
        )
        print(name, lines[-1], f"{time.process_time() - began:.0f} s", flush=True)
    save_file(model.state_dict(), OUT / f"{name}.safetensors")
    (OUT / f"{name}.json").write_text(json.dumps({"seconds": time.process_time() - began, "epochs": lines}))


def _watch(model: nn.Module, name: str, x: Tensor, y: Tensor) -> dict[str, float]:
    with torch.no_grad():
        clean = float((model(x).argmax(1) == y).float().mean())
        if name not in IBP:
            noisy = model(x + NOISE[name] * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)))
            return {"clean": clean, "noisy": float((noisy.argmax(1) == y).float().mean())}
        radius = float(name.partition("-")[2])
        worst = worst_logits(model, (x - radius).clamp(0, 1), (x + radius).clamp(0, 1), y)
        return {"clean": clean, "certified": float((worst.argmax(1) == y).float().mean())}


def main() -> None:
    """Train what is not there yet."""
    import os

    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    x, y = images(Path(os.environ["REDOUBT_DATA"]) / "mnist", "train")
    for name in sys.argv[1:] or [*IBP, *NOISE]:
        if not (OUT / f"{name}.safetensors").exists():
            train(name, x, y, epochs=30 if name in IBP else 10)


if __name__ == "__main__":
    main()
