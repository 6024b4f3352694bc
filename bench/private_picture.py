"""Accuracy against epsilon as a drawing that needs no style sheet."""

import math
from typing import Any

NAMES = {"linear": "linear model on scattering features", "network": "small network end to end"}
_COLOURS = {"linear": "#2463ba", "network": "#c0392b"}
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 560, 320, 60, 270, 30


def picture(rows: list[dict[str, Any]]) -> str:
    """Rows of `private_curve.json` to SVG: epsilon in logarithms from left to right, accuracy upwards."""
    epsilons = sorted({row["target"] for row in rows})
    least = math.floor(100 * min(row["accuracy"] for row in rows)) / 100
    span = math.log(epsilons[-1] / epsilons[0]) or 1.0

    def x(epsilon: float) -> float:
        return round(_LEFT + 30 + (_WIDTH - _LEFT - 80) * math.log(epsilon / epsilons[0]) / span, 1)

    def y(accuracy: float) -> float:
        return round(_BOTTOM - (_BOTTOM - _TOP) * (accuracy - least) / (1 - least), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="12"><title>Accuracy against epsilon</title>'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
    ]
    step = max(1, round((100 - 100 * least) / 6))
    for percent in range(round(100 * least), 101, step):
        parts.append(f'<path d="M{_LEFT} {y(percent / 100)}H{_WIDTH - 20}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(percent / 100) + 4}" text-anchor="end">{percent} %</text>')
    for epsilon in epsilons:
        parts.append(f'<text x="{x(epsilon)}" y="{_BOTTOM + 18}" text-anchor="middle">{epsilon:g}</text>')
    parts.append(f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_BOTTOM + 38}" text-anchor="middle">epsilon</text>')
    for at, (way, name) in enumerate(NAMES.items()):
        own = sorted((row["target"], row["accuracy"]) for row in rows if row["way"] == way)
        line = "L".join(f"{x(epsilon)} {y(accuracy)}" for epsilon, accuracy in own)
        if len(own) > 1:
            parts.append(f'<path d="M{line}" fill="none" stroke="{_COLOURS[way]}" stroke-width="2"/>')
        for epsilon, accuracy in own:
            parts.append(f'<circle cx="{x(epsilon)}" cy="{y(accuracy)}" r="4" fill="{_COLOURS[way]}"/>')
        parts.append(f'<circle cx="{_LEFT + 10 + 240 * at}" cy="{_TOP - 14}" r="4" fill="{_COLOURS[way]}"/>')
        parts.append(f'<text x="{_LEFT + 19 + 240 * at}" y="{_TOP - 10}">{name}</text>')
    return "".join(parts) + "</svg>\n"
