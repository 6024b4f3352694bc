"""The page of a hardening: what it cost, how it went, and what robustness looks like."""

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from redoubt.records import Hardening, Price
from redoubt.report import training_charts, words
from redoubt.report.pictures import is_image, picture
from redoubt.report.read import Gains, read_hardening
from redoubt.storage import write_atomically

PAGE = "hardened.html"
_FALL = 0.02  # below the best epoch, to be called overfitting


@dataclass(frozen=True)
class _Look:
    """One input: itself, the loss's gradients and the loss around it, before and after, as `data:` URIs."""

    x: str
    gradient: tuple[str, str]
    surface: tuple[str, str]


def write_hardening_page(folder: Path, command: str) -> Path:
    """Read the evidence of a hardening in `folder` and write `hardened.html` beside it.

    Args:
        folder: as `redoubt harden` leaves it.
        command: the shell command that makes it again.

    Raises:
        StorageError: the evidence cannot be read or believed, or the page cannot be written.
    """
    hardening, gains = read_hardening(folder)
    write_atomically(folder / PAGE, render_hardening(hardening, gains, command).encode())
    return folder / PAGE


def render_hardening(hardening: Hardening, gains: Gains | None, command: str) -> str:
    """The page as HTML: self-contained, no scripts, nothing fetched."""
    environment = Environment(
        loader=PackageLoader("redoubt.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {
        "plain": words.plain,
        "line": words.one_line,
        "count": words.count,
        "percent": words.percent,
        "span": words.seconds,
    }
    return environment.get_template("hardening.html.j2").render(
        hardening=hardening,
        price=hardening.price,
        points=points_lost(hardening.price),
        recipe=recipe_words(hardening),
        curves=training_charts.curves(hardening, "curves"),
        overfitting=overfitting(hardening),
        radii=training_charts.radii_chart(hardening.radii, "radii") if hardening.radii else "",
        sizes=training_charts.sizes_chart(hardening.sizes, "sizes") if hardening.sizes else "",
        looks=_looks(gains) if gains is not None else [],
        command=command,
    )


def overfitting(hardening: Hardening) -> str:
    """A sentence on robust overfitting (Rice et al. 2020): accuracy under attack that fell while it rose in training.

    Empty where there is none.
    """
    full = [point for point in hardening.curve if point.radius == hardening.curve[-1].radius]
    best, last = max(full, key=lambda point: point.robust), full[-1]
    if best.robust - last.robust < _FALL or last.fitted <= best.fitted:
        return ""
    kept = hardening.recipe.keep == "best"
    return (
        f"Robust overfitting: accuracy under attack fell from {words.percent(best.robust)} after epoch {best.number} "
        f"to {words.percent(last.robust)}, while on examples trained on it rose to {words.percent(last.fitted)}. "
        + ("The weights of the best epoch were kept." if kept else "Write keep: best under harden to keep the best.")
    )


def points_lost(price: Price) -> str:
    """Clean accuracy lost or gained, in points.

    >>> from redoubt.records import Price
    >>> points_lost(Price(clean_before=0.99, clean_after=0.975, robust_before=0, robust_after=0.9, examples=9,
    ...     epochs=1, forwards=1, backwards=1, seconds=1.0))
    '1.5 points of clean accuracy lost'
    """
    lost = 100 * (price.clean_before - price.clean_after)
    return f"{abs(lost):.1f} points of clean accuracy {'lost' if lost >= 0 else 'gained'}"


def recipe_words(hardening: Hardening) -> list[tuple[str, str]]:
    """Each key that has an effect, and its value."""
    told = hardening.recipe.effective()
    return [(key, str(value).lower() if isinstance(value, bool) else str(value)) for key, value in told.items()]


def _looks(gains: Gains) -> list[_Look]:
    if not is_image(gains.x.shape[1:]):
        return []
    low, high = float(min(gains.x.min(), 0.0)), float(max(gains.x.max(), 1.0))
    looks = []
    for row in range(len(gains.x)):
        before, after = training_charts.slopes([each[row] for each in gains.gradient])
        plain, hard = training_charts.heat_maps([each[row] for each in gains.surface])
        looks.append(_Look(picture(gains.x[row], low, high), (before, after), (plain, hard)))
    return looks
