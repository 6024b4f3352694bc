"""Adult (Becker and Kohavi 1996) as numbers: one-hot categories, numbers on the scale of the training data, a policy.

python bench/adult.py

Rows with an unknown value keep it as a category of its own.  `fnlwgt`, a weight of the survey, and `education`, which
says the same as `education-num`, are left out.
"""

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common import HOME

ADULT = HOME / "adult"
NAMES = (
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
    "income",
)
NUMBERS = ("age", "education-num", "capital-gain", "capital-loss", "hours-per-week")
CATEGORIES = ("workclass", "marital-status", "occupation", "relationship", "race", "sex", "native-country")

# What an applicant can change about a form, and at what price; all else, age, race, sex, family and country among it,
# stays.  One unit of cost: five hours a week, half a year of school, a gain of 500 to declare.
RULES = {
    "hours-per-week": "step: 5, cost: 1",
    "education-num": "step: 1, cost: 2, only: up",
    "capital-gain": "step: 500, cost: 1, only: up, high: 10000",
    "capital-loss": "step: 500, cost: 1, only: up, high: 3000",
    "occupation": "kind: category, cost: 2",
    "workclass": "kind: category, cost: 2",
}


@dataclass(frozen=True)
class Layout:
    """Where each feature stands in a row: first and last column; ends of each number; values of each category."""

    columns: dict[str, tuple[int, int]]
    ends: dict[str, tuple[float, float]]
    values: dict[str, tuple[str, ...]]

    @property
    def width(self) -> int:
        """Columns of a row."""
        return 1 + max(last for _, last in self.columns.values())


def read(name: str) -> list[dict[str, str]]:
    """The rows of `adult.data` or `adult.test`, as they stand there."""
    shared = Path(os.environ.get("REDOUBT_DATA", "../shared/data"))
    with (shared / "adult" / name).open(encoding="ascii") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file)]
    return [dict(zip(NAMES, row, strict=True)) for row in rows if len(row) == len(NAMES)]


def layout_of(rows: list[dict[str, str]]) -> Layout:
    """Numbers first, then the categories, with the values that the training rows have."""
    columns = {name: (at, at) for at, name in enumerate(NUMBERS)}
    ends = {name: (min(float(r[name]) for r in rows), max(float(r[name]) for r in rows)) for name in NUMBERS}
    values = {name: tuple(sorted({row[name] for row in rows})) for name in CATEGORIES}
    at = len(NUMBERS)
    for name in CATEGORIES:
        columns[name] = (at, at + len(values[name]) - 1)
        at += len(values[name])
    return Layout(columns, ends, values)


def encode(rows: list[dict[str, str]], layout: Layout) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Inputs `[N, F]` in 0..1 and labels: 1 for an income above 50,000."""
    x = np.zeros((len(rows), layout.width), np.float32)
    for name in NUMBERS:
        low, high = layout.ends[name]
        x[:, layout.columns[name][0]] = [min(max((float(row[name]) - low) / (high - low), 0), 1) for row in rows]
    for name in CATEGORIES:
        known = {value: layout.columns[name][0] + at for at, value in enumerate(layout.values[name])}
        for at, row in enumerate(rows):
            if row[name] in known:  # one of the test rows names a country that no training row has
                x[at, known[row[name]]] = 1
    return x, np.array([row["income"].startswith(">50K") for row in rows], np.int64)


def within(layout: Layout, budget: float) -> str:
    """The set as a policy writes it."""
    lines = []
    for name, rule in RULES.items():
        first, last = layout.columns[name]
        if name in layout.ends:
            low, high = layout.ends[name]
            lines.append(f"        {name}: {{at: {first}, scale: [{low:g}, {high:g}], {rule}}}")
        else:
            values = ", ".join(f'"{value}"' for value in layout.values[name])
            lines.append(f"        {name}: {{at: [{first}, {last}], {rule}, values: [{values}]}}")
    return "\n".join(["    within:", "      features:", *lines, f"      budget: {budget:g}"])


def policy(layout: Layout, source: str, more: str = "") -> str:
    """A whole policy over that model."""
    return f"""\
redoubt: 1
system: adult
model:
  source: {source}
{more}  input: {{shape: [{layout.width}], range: [0, 1]}}
  classes: 2
  labels: ["<=50K", ">50K"]
data:
  test: {{source: "npz:test.npz"}}
adversaries:
  applicant: {{observes: scores, budget: {{queries: 2000}}}}
requirements:
  - id: honest-forms
    game: evasion
    adversary: applicant
{within(layout, 2)}
    require: robust_accuracy >= 0.5
"""


def prepare(test_rows: int) -> tuple[Layout, tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Write `test.npz`, that many of the test rows drawn with seed 0; returns the layout and the training data."""
    train = read("adult.data")
    layout = layout_of(train)
    x, y = encode(read("adult.test"), layout)
    rows = np.random.default_rng(0).permutation(len(y))[:test_rows]
    ADULT.mkdir(parents=True, exist_ok=True)
    np.savez(ADULT / "test.npz", x=x[rows], y=y[rows])
    return layout, encode(train, layout)
