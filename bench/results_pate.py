"""The section of docs/results.md on PATE."""

import statistics
from collections.abc import Iterable
from typing import Any

from common import told

_ACCURACY, _EPSILON = 0.985, 1.97


def section() -> Iterable[str]:
    """Accuracy, epsilon and the votes: what of it was measured."""
    found: dict[str, Any] = told("pate") or {}
    if not found:
        return
    rows = [found[seed] for seed in sorted(found, key=int)]
    settings = rows[0]["settings"]
    yield "## PATE"
    yield ""
    yield (
        "MNIST, 250 teachers of 240 images each, on scattering features of images stood upright: kernel least squares, "
        "smoothed over a graph of the public inputs. Asked about are the inputs that have others near them, the most "
        f"typical first, {settings['asked']:,} of 9,000 at most, which looks at no private image. An answer is the "
        f"noisy maximum with deviation {settings['aggregator']['deviation']:g}, and is counted by how the votes fell, "
        f"at delta 1e-5. The student is kernel least squares with self-training; it learns from 9,000 test images "
        "without labels and is measured on the last 1,000. Settings were chosen on training images, not accounted for: "
        f"{len(told('pate_search') or [])} runs of the search, and trials by hand before it. The epsilon that may be "
        "published has the release of the cost in it; the last is by the paper's conversion."
    )
    yield ""
    yield (
        "| seed | answered | rightly | student | on the inputs it learnt from | epsilon | published "
        "| paper's conversion |\n|---:|---:|---:|---:|---:|---:|---:|---:|"
    )
    for seed, row in zip(sorted(found, key=int), rows, strict=True):
        other = row["epsilon by the paper's conversion"]
        yield (
            f"| {seed} | {row['asked']:,} | {row['answered rightly'] / row['asked']:.2%} | {row['accuracy']:.2%} "
            f"| {row['accuracy on the pool']:.2%} | {row['epsilon']:.3f} | {row['epsilon published']:.3f} "
            f"| {other:.3f} |"
        )
    accuracy = statistics.mean(row["accuracy"] for row in rows)
    epsilon = max(row["epsilon"] for row in rows)
    met = "met" if accuracy >= _ACCURACY and epsilon <= _EPSILON else "**missed**"
    yield ""
    vote, seconds = rows[0]["teachers' vote"], max(row["seconds"] for row in rows)
    yield (
        f"Mean accuracy {accuracy:.2%} of {len(rows)} seeds at epsilon {epsilon:.3f} at most (aim >= "
        f"{_ACCURACY:.1%} at <= {_EPSILON}): {met}. The teachers' vote without noise is right on {vote:.2%} of the "
        f"9,000. The teachers are the same for all seeds. A student takes {seconds:.0f} processor seconds."
    )
    yield ""
    yield from _few(told("pate_few") or {})
    yield "How many teachers agreed on the inputs that were asked about, seed 0, and what an answer cost there:"
    yield ""
    yield "| teachers who agree | inputs | mean Renyi cost of an answer |"
    yield "|---|---:|---:|"
    counts = rows[0]["most votes"]
    costs = {round(10 * start): cost for start, cost in rows[0]["cost by most votes"]}
    for tenth in range(10):
        inputs = sum(counts[at] for at in range(25) if int(at / 2.5) == tenth)
        cost = f"{costs[tenth]:.2e}" if tenth in costs else "–"
        yield f"| {tenth * 10}–{tenth * 10 + 10} % | {inputs:.0f} | {cost} |"


def _few(found: dict[str, Any]) -> Iterable[str]:
    """Answers whose cost may be published."""
    if not found:
        return
    rows = list(found.values())
    accuracies = [row["accuracy"] for row in rows]
    pool = statistics.mean(row["accuracy on the pool"] for row in rows)
    rightly = statistics.mean(row["answered rightly"] / row["answers"] for row in rows)
    met = "met" if statistics.mean(accuracies) >= _ACCURACY and rows[0]["epsilon"] <= _EPSILON else "**missed**"
    one = rows[0]
    yield (
        "What such answers cost is a secret, and with thousands of them its release says no more than the noise by "
        f"itself. So once more with {one['answers']} inputs, spread evenly over the more typical ones, and noise of "
        f"deviation {one['deviation']:g}, counted whatever the votes by privacy loss distributions: epsilon "
        f"{one['epsilon']:.3f}, which may be published. The teachers answer {rightly:.2%} rightly; the student has "
        f"{statistics.mean(accuracies):.2%} in the mean of {len(rows)} seeds ({min(accuracies):.2%} to "
        f"{max(accuracies):.2%}), and {pool:.2%} on the inputs that it learnt from, without their labels: the aim, "
        f"{met}."
    )
    yield ""
