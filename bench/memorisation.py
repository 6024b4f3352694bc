"""What small language models keep of their text: canaries by how often they were planted, over-fitted and private.

python bench/memorisation.py [--kinds over-fitted private]

The text is the beginning of tinyshakespeare; single characters are tokens.  1,000 records of 64 characters each are
trained on; into some of them canaries are written, from once to 16 times each.  The same records train a model until it
knows them by heart, and one by DP-SGD at epsilon 3.  The over-fitted one is the third that was tried on
these canaries: of 3,125 records it gave away none of 40 secrets in 40 epochs, and of records that were always cut at
the same place 6, since it knew each in its place only.  The private one was not tuned.
Trained models are kept in `.bench/memorisation`.  One thread.
"""

import argparse
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from common import HOME, read, write
from redoubt.attacks.memorisation import Canary, Extraction, Format, Sampler, draw_canaries, exposures, plant
from redoubt.bounds.privacy.calibrate import noise_for
from redoubt.bounds.privacy.events import PoissonGaussian
from redoubt.games.memorisation import verify
from redoubt.harden.private.general import train_general
from redoubt.harden.private.plan import Plan
from redoubt.models.language import CharacterModel

KEPT = HOME / "memorisation"
KINDS = ("over-fitted", "private")
WIDTH, LAYERS, CONTEXT = 96, 2, 64
RECORDS, EPOCHS, BATCH = 1000, 120, 32
EPSILON, DELTA, STEPS, RATE = 3.0, 1e-5, 150, 0.06
FORM = Format("\nMy number is ", "0123456789", 8, ".\n")
VERBATIM = 30  # characters in a row that make a piece of training text
TIMES = {0: 8, 1: 8, 2: 8, 4: 8, 8: 8, 16: 8}


class Block(nn.Module):
    """Causal attention and two linear layers, as in GPT-2, of parts that opacus knows."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.first(x)
        parts = (layer(seen).unflatten(-1, (4, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(-2))
        return x + self.narrow(F.gelu(self.wide(self.second(x))))


class Writer(nn.Module):
    """A small GPT: tokens `[B, L]` to logits `[B, L, V]`."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(characters, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.last, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, characters)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1]).expand_as(tokens)
        x = self.token(tokens) + self.place(places)
        for block in self.blocks:
            x = block(x)
        return self.head(self.last(x))


class Sideways(nn.Module):
    """Logits as `[B, V, L]`, as a loss over every token wants them."""

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self.writer = writer

    def forward(self, tokens: Tensor) -> Tensor:
        return self.writer(tokens).transpose(1, 2)


def text() -> str:
    """All of tinyshakespeare."""
    return (Path(os.environ["REDOUBT_DATA"]) / "tinyshakespeare/input.txt").read_text()


def alphabet() -> str:
    """Its characters, and the digits."""
    return "".join(sorted(set(text()) | set("0123456789")))


def records(part: int = 0) -> tuple[list[str], list[Canary]]:
    """The records of that part of the text, with canaries in them; part 0 is trained on, part 1 is public."""
    size, whole = CONTEXT, text()
    rng = torch.Generator().manual_seed(part)
    begin = part * RECORDS * size
    plain = [whole[begin + at * size : begin + (at + 1) * size] for at in range(RECORDS)]
    canaries = draw_canaries(FORM, TIMES, rng)
    return plant(plain, FORM, canaries, rng)[0], canaries


def tokens(lines: list[str]) -> Tensor:
    """The records as int64 `[N, 64]`."""
    number = {character: at for at, character in enumerate(alphabet())}
    return torch.tensor([[number[character] for character in line] for line in lines])


def loss_of(writer: Writer, rows: Tensor) -> float:
    """Bits per character."""
    with torch.no_grad():
        logits = writer(rows[:, :-1]).transpose(1, 2)
        return float(F.cross_entropy(logits, rows[:, 1:])) / 0.6931


def over_fit(rows: Tensor, epochs: int = EPOCHS) -> tuple[Writer, dict[str, Any]]:
    """AdamW, and many passes over the whole text, cut into windows at another place in every one."""
    torch.manual_seed(0)
    writer = Writer(len(alphabet()))
    optimizer = torch.optim.AdamW(writer.parameters(), 3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, epochs * -(-len(rows) // BATCH))
    for epoch in range(epochs):
        cut = int(torch.randint(rows.shape[1], ()))  # at one place only, a secret would be known in its place alone
        windows = rows.flatten().roll(-cut).view_as(rows)
        for batch in torch.randperm(len(rows)).split(BATCH):
            optimizer.zero_grad()
            logits = writer(windows[batch, :-1]).transpose(1, 2)
            F.cross_entropy(logits, windows[batch, 1:]).backward()
            optimizer.step()
            schedule.step()
        if epoch % 10 == 9:
            print(f"bench: epoch {epoch + 1}, {loss_of(writer, rows[:500]):.3f} bits per character", flush=True)
    return writer.eval(), {"epochs": epochs}


def private(rows: Tensor, steps: int = STEPS, rate: float = 0.1) -> tuple[Writer, dict[str, Any]]:
    """DP-SGD, one record the unit: a canary that stands in 16 records has 16 records' protection, not one's."""
    torch.manual_seed(0)
    writer = Writer(len(alphabet()))
    noise = noise_for(EPSILON, DELTA, lambda sigma: [PoissonGaussian(rate=RATE, noise_multiplier=sigma, steps=steps)])
    plan = Plan(RATE, noise, steps, 1.0, rate)
    train_general(Sideways(writer), rows[:, :-1], rows[:, 1:], plan, at_once=64, insecure_seed=0)
    return writer.eval(), {"steps": steps, "noise": noise, "epsilon": EPSILON, "delta": DELTA, "rate": RATE}


def trained(kind: str) -> tuple[Writer, dict[str, Any]]:
    """The model of that kind, trained if it is not kept yet."""
    path = KEPT / f"{kind}.safetensors"
    KEPT.mkdir(parents=True, exist_ok=True)
    rows = tokens(records()[0])
    if not path.exists():
        began = time.process_time()
        writer, said = over_fit(rows) if kind == "over-fitted" else private(rows)
        said |= {"seconds": time.process_time() - began}
        part = path.with_suffix(".part")
        save_file(writer.state_dict(), part, {key: str(value) for key, value in said.items()})
        part.rename(path)
    writer = Writer(len(alphabet()))
    writer.load_state_dict(load_file(path))
    with safe_open(path, "pt") as file:
        said = {key: float(value) for key, value in (file.metadata() or {}).items()}
    return writer.eval(), said


SAMPLES, CLAIMS, LENGTH = 400, 100, 44


def measured(kind: str) -> dict[str, Any]:
    """Exposures of all canaries, and what the same search extracts from the model."""
    writer, said = trained(kind)
    model = CharacterModel(writer, alphabet(), CONTEXT)
    lines, canaries = records()
    began = time.process_time()
    found = exposures(model, FORM, [canary.secret for canary in canaries], torch.Generator().manual_seed(1), 4000)
    groups: dict[str, list[float]] = {}
    for canary, bits in zip(canaries, found.bits.tolist(), strict=True):
        groups.setdefault(str(canary.times), []).append(round(bits, 3))
    asked = time.process_time() - began
    training, public = "".join(lines), "".join(records(1)[0])
    began = time.process_time()
    rng = torch.Generator().manual_seed(2)
    attack = Extraction(SAMPLES, CLAIMS, LENGTH)
    claims = attack.run(model, public, rng)
    # The canaries' format is known, as it is to whoever planted them or guesses how people write: after it, too.
    start = model.encode(FORM.before)
    drawn = Sampler(FORM.length + len(FORM.after), attack.top).draw(model, [start] * (3 * SAMPLES), rng)
    aimed = attack.claimed(model, drawn, [start] * len(drawn))
    pieces = verify(claims, training, public, VERBATIM)
    said_so = {FORM.before + claim.text for claim in aimed} | {claim.text for claim in claims}
    secrets = [c for c in canaries if c.times and any(FORM.text(c.secret) in text for text in said_so)]
    return {
        "kind": kind,
        "training": said,
        "weights": sum(parameter.numel() for parameter in writer.parameters()),
        "bits": {
            "inside": loss_of(writer, tokens(lines[:500])),
            "outside": loss_of(writer, tokens(records(1)[0][:500])),
        },
        "exposure": groups,
        "method": found.method,
        "misfit": found.misfit,
        "most": math.log2(FORM.size),
        "drawn": 3 * SAMPLES,
        "aimed": len(drawn),
        "claims": len(claims),
        "aimed_claims": len(aimed),
        "pieces": [len(piece.text) for piece in pieces],
        "secrets": {str(times): sum(c.times == times for c in secrets) for times in TIMES if times},
        "planted": {str(times): many for times, many in TIMES.items() if times},
        "seconds": {"exposure": asked, "extraction": time.process_time() - began},
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = {row["kind"]: row for row in read("memorisation") or []}
    for kind in chosen.kinds:
        rows[kind] = measured(kind)
        print(f"bench: {rows[kind]}", flush=True)
        write("memorisation", [rows[name] for name in KINDS if name in rows])


if __name__ == "__main__":
    main()
