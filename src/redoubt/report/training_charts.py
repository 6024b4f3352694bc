"""The charts of a hardening: its curves, what a radius costs, what more examples are worth, and heat maps of a loss."""

import base64
import io
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from redoubt.records import Hardening, Swept
from redoubt.report.charts import frame, shares, x_tick
from redoubt.report.svg import Axis, Board
from redoubt.report.words import count, percent

_LEFT, _RIGHT = 52.0, 506.0


def curves(hardening: Hardening, ident: str) -> str:
    """Accuracy after each epoch: clean, under attack, and under attack on examples that were trained on."""
    points = hardening.curve
    last = points[-1]
    board = frame(
        ident,
        "Accuracy after each epoch",
        f"After {last.number} epochs: clean {percent(last.clean)}, under attack {percent(last.robust)}, under attack "
        f"on examples trained on {percent(last.fitted)}.",
    )
    x = Axis(1, max(last.number, 2), _LEFT, _RIGHT)
    y = shares(board, x.stop)
    for tick in sorted({round(tick) for tick in x.ticks()}):
        x_tick(board, x(tick), str(tick))
    _under(board, x, "epoch")
    lines = (
        ("curve", "clean", [point.clean for point in points]),
        ("curve robust", "under attack", [point.robust for point in points]),
        ("curve other", "dashed: under attack, on examples trained on", [point.fitted for point in points]),
    )
    for kind, _, values in lines:
        board.path([(x(point.number), y(value)) for point, value in zip(points, values, strict=True)], kind)
    for point in points:
        for value, name in ((point.clean, "clean"), (point.robust, "under attack")):
            says = f"epoch {point.number}, {name}: {percent(value)}"
            board.dot(x(point.number), y(value), 2.6, "point", says)
    board.text(x.stop, y(last.clean) - 7, "clean", "note", "end")
    board.text(x.stop, y(last.robust) + 15, "under attack", "note", "end")
    return str(board)


def radii_chart(points: Sequence[Swept], ident: str) -> str:
    """Clean and robust accuracy of models trained at several radii; the requirement's is 1."""
    ordered = sorted(points, key=lambda point: point.value)
    board = frame(
        ident,
        "What a radius costs",
        "; ".join(
            f"trained at {point.value:g}: clean {percent(point.clean)}, robust {percent(point.robust)}"
            for point in ordered
        ),
    )
    x = Axis(0, max(ordered[-1].value, 1.0) * 1.04, _LEFT, _RIGHT)
    y = shares(board, x.stop)
    for tick in x.ticks():
        x_tick(board, x(tick), f"{tick:g}×")
    _under(board, x, "radius in training, as a multiple of the requirement's")
    _two(board, x, y, ordered)
    return str(board)


def sizes_chart(points: Sequence[Swept], ident: str) -> str:
    """Accuracy against how many examples there were to learn from; dashed: trained without an adversary."""
    ordered = sorted(points, key=lambda point: point.value)
    board = frame(
        ident,
        "What more examples are worth",
        "; ".join(
            f"{count(point.value)} examples: clean {percent(point.clean)}, robust {percent(point.robust)}"
            for point in ordered
        ),
    )
    low, high = max(ordered[0].value, 1.0), max(ordered[-1].value, 2.0)
    x = Axis(10 ** math.floor(math.log10(low)), high * 1.1, _LEFT, _RIGHT, log=True)
    y = shares(board, x.stop)
    for tick in x.ticks():
        x_tick(board, x(tick), count(tick))
    _under(board, x, "training examples")
    plain = [(x(point.value), y(point.plain_clean)) for point in ordered if point.plain_clean is not None]
    board.path(plain, "curve other")
    _two(board, x, y, ordered)
    return str(board)


def heat_maps(surfaces: Sequence[NDArray[np.float32]]) -> list[str]:
    """Losses `[G, G]` as pictures on one scale: paper where the loss is nought, dark red where it is greatest."""
    most = max((float(surface.max()) for surface in surfaces), default=0.0) or 1.0
    return [_heat(np.clip(surface.astype(np.float64) / most, 0, 1)) for surface in surfaces]


def slopes(gradients: Sequence[NDArray[np.float32]]) -> list[str]:
    """Gradients `[C, H, W]` as pictures, each on its own scale, the channels averaged: red raises the loss."""
    pictures = []
    for gradient in gradients:
        flat = gradient.astype(np.float64).mean(axis=0)
        flat = flat / (np.quantile(np.abs(flat), 0.99) or 1.0)
        strength = np.clip(np.abs(flat), 0, 1)[..., None]
        shade = 248 * (1 - strength) + np.where(flat[..., None] < 0, (36, 99, 186), (192, 57, 43)) * strength
        pictures.append(_picture(shade))
    return pictures


def _two(board: Board, x: Axis, y: Axis, ordered: Sequence[Swept]) -> None:
    for kind, name in (("curve", "clean"), ("curve robust", "robust")):
        values = [point.clean if name == "clean" else point.robust for point in ordered]
        board.path([(x(point.value), y(value)) for point, value in zip(ordered, values, strict=True)], kind)
        for point, value in zip(ordered, values, strict=True):
            board.dot(x(point.value), y(value), 3.2, "point", f"{name} at {point.value:g}: {percent(value)}")
        board.text(x(ordered[-1].value), y(values[-1]) + (-8 if name == "clean" else 16), name, "note", "end")


def _under(board: Board, x: Axis, words: str) -> None:
    board.text((x.start + x.stop) / 2, 292, words, "legend", "middle")


def _heat(share: NDArray[np.float64]) -> str:
    return _picture(248 * (1 - share[..., None]) + np.array([122, 16, 20]) * share[..., None])


def _picture(shade: NDArray[np.float64]) -> str:
    pixels = np.ascontiguousarray(np.rint(shade).astype(np.uint8))
    image = Image.fromarray(pixels)
    factor = max(-(-112 // max(image.size)), 1)
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    raw = io.BytesIO()
    image.save(raw, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(raw.getvalue()).decode("ascii")
