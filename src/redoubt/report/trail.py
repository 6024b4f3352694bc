"""The trail of one decision as a page: self-contained, no scripts, nothing fetched."""

from html import escape

import numpy as np
from numpy.typing import NDArray

from redoubt.records.trail import Trail
from redoubt.report.pictures import is_image, picture

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{padding:.3rem .7rem;border-bottom:1px solid #ccc;text-align:right}"
    "img{width:64px;image-rendering:pixelated}code{font-size:.8rem}.other{color:#a00;font-weight:bold}"
)
_WHAT = {
    "tracin": "TracIn of the last layer: how much a step on the point would lower the loss of this answer",
    "representer": "representer value: what the point adds to the logit of this answer in the refitted last layer",
    "neighbours": "cosine similarity in the layer before the last",
}


def render_trail(
    trail: Trail,
    x: NDArray[np.float32],
    points: NDArray[np.float32],
    labels: tuple[str, ...],
    span: tuple[float, float],
) -> str:
    """The page.

    Args:
        trail: see `Trail`.
        x: the input `[*shape]`.
        points: the training points `[P, *shape]`, in the trail's order.
        labels: class names.
        span: least and greatest value of an input.
    """

    def name(label: int) -> str:
        return escape(labels[label] if 0 <= label < len(labels) else str(label))

    def drawn(values: NDArray[np.float32]) -> str:
        return f'<img alt="" src="{picture(values, *span)}">' if is_image(values.shape) else ""

    rows = []
    for point, values in zip(trail.points, points, strict=True):
        other = ' class="other"' if point.label != point.answer else ""
        cells = [
            drawn(values),
            str(point.row),
            f"<span{other}>{name(point.label)}</span>",
            name(point.answer),
            *(f"{value:.4g}" if value is not None else "" for value in (point.tracin, point.representer)),
            f"{point.similarity:.3f}",
            f"<code>{escape(point.digest[7:23])}…</code>",
        ]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = ("", "row", "label", "model says", "TracIn", "representer", "similarity", "digest")
    fitted = {None: "", True: " The refitted layer answers the same.", False: " The refitted layer answers otherwise."}
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Influence trail</title>'
        f"<style>{_STYLE}</style><h1>Influence trail</h1>"
        f"<p>Entry {trail.index} of the log {escape(trail.log)}: the model answered "
        f"<strong>{name(trail.label)}</strong>. {drawn(x)}</p>"
        f"<p>The input is known by its {escape(trail.proved)} in the log (<code>{escape(trail.input)}</code>). "
        f"Training data: {escape(trail.train)}. Ordered by {escape(_WHAT[trail.by])}.{fitted[trail.agrees]} "
        "A label that the model contradicts is red.</p>"
        f"<table><tr>{''.join(f'<th>{word}</th>' for word in head)}</tr>{''.join(rows)}</table>"
        f"<p><code>leaf {escape(trail.leaf)}<br>model {escape(trail.model)}<br>policy {escape(trail.policy)}</code></p>"
    )
