"""A small drawing board: inline SVG that takes its colours from the page, so that it follows dark, light and print.

Everything goes through an XML tree, which escapes; no text is ever pasted into markup.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree as ET


def number(value: float) -> str:
    """A coordinate with two decimals at most, the same everywhere."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


@dataclass(frozen=True)
class Axis:
    """Values `low..high` laid over pixels `start..stop`; logarithmic if `log`, and then `low` is positive."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value, held inside the axis."""
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, max(value, self.low)))
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + min(share, 1.0) * (self.stop - self.start)

    def ticks(self) -> list[float]:
        """At most eight round values.

        >>> Axis(0, 1.5, 0, 100).ticks(), Axis(1, 4000, 0, 100, log=True).ticks()
        ([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5], [1.0, 10.0, 100.0, 1000.0])
        """
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            if last - first < 2:
                tens = (10.0**power for power in range(first - 1, last + 1))
                return [n * ten for ten in tens for n in (1, 2, 5) if self.low <= n * ten <= self.high]
            stride = (last - first) // 7 + 1
            return [10.0**power for power in range(first, last + 1, stride)]
        rough = (self.high - self.low) / 7 or 1.0
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        return [round(n * step, 12) for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


class Board:
    """One drawing, `width` by `height` units, with a title and a description for those who do not see it.

    The page's style sheet gives each `kind` (a CSS class) its look.
    """

    def __init__(self, width: float, height: float, ident: str, title: str, description: str) -> None:
        self._root = ET.Element(
            "svg",
            {
                "viewBox": f"0 0 {number(width)} {number(height)}",
                "role": "img",
                "aria-labelledby": f"{ident}-t {ident}-d",
                "class": "board",
            },
        )
        ET.SubElement(self._root, "title", {"id": f"{ident}-t"}).text = title
        ET.SubElement(self._root, "desc", {"id": f"{ident}-d"}).text = description

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """A straight line."""
        self._add("line", kind, x1=x1, y1=y1, x2=x2, y2=y2)

    def rect(self, x: float, y: float, width: float, height: float, kind: str, radius: float = 0) -> None:
        """A box, with rounded corners if `radius`."""
        self._add("rect", kind, x=x, y=y, width=width, height=height, rx=radius)

    def dot(self, x: float, y: float, radius: float, kind: str, says: str = "") -> None:
        """A disc; `says` shows when pointed at."""
        _say(self._add("circle", kind, cx=x, cy=y, r=radius), says)

    def diamond(self, x: float, y: float, radius: float, kind: str, says: str = "") -> None:
        """A square on its corner."""
        corners = ((x, y - radius), (x + radius, y), (x, y + radius), (x - radius, y))
        _say(self._path(corners, kind, closed=True), says)

    def path(self, points: Iterable[tuple[float, float]], kind: str) -> None:
        """A line through the points; a filled shape if `kind` fills it."""
        self._path(points, kind, closed=False)

    def text(self, x: float, y: float, content: str, kind: str, anchor: str = "start") -> None:
        """A text whose `start`, `middle` or `end` stands at x, on the base line y."""
        element = self._add("text", kind, x=x, y=y)
        element.set("text-anchor", anchor)
        element.text = content

    def __str__(self) -> str:
        """The drawing as markup, safe inside HTML."""
        return ET.tostring(self._root, encoding="unicode")

    def _add(self, name: str, kind: str, **numbers: float) -> ET.Element:
        attributes = {key: number(value) for key, value in numbers.items()}
        return ET.SubElement(self._root, name, {"class": kind, **attributes})

    def _path(self, points: Iterable[tuple[float, float]], kind: str, closed: bool) -> ET.Element:
        steps = " ".join(f"{'L' if i else 'M'}{number(x)} {number(y)}" for i, (x, y) in enumerate(points))
        return ET.SubElement(self._root, "path", {"class": kind, "d": steps + (" Z" if closed else "")})


def _say(element: ET.Element, says: str) -> None:
    if says:
        ET.SubElement(element, "title").text = says
