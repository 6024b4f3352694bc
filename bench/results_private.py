"""The section of docs/results.md on private training and its accounting."""

import statistics
from collections.abc import Iterable
from typing import Any

from common import told

_AIMS = {("mnist", 3.0): 0.987, ("fashion_mnist", 3.0): 0.897}
_SETS = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
_MOST_SECONDS = 600
_LEAST_GAIN, _MOST_PRICE, _AGREE = 10, 1.3, 0.02


def accuracy() -> Iterable[str]:
    """Accuracy at epsilon, under the heading of all that stands below."""
    rows = told("private_accuracy")
    if rows:
        yield "## Private training"
        yield from _accuracy(rows, told("private_search") or [])


def speed() -> Iterable[str]:
    """A step of the fast path beside opacus and plain SGD."""
    yield from _speed(told("private_speed"))


def accountants() -> Iterable[str]:
    """How the accountants agree."""
    yield from _accountants(told("private_accountants") or [])


def _accuracy(rows: list[dict[str, Any]], searched: list[dict[str, Any]]) -> Iterable[str]:
    yield ""
    yield (
        "Scattering features, group normalisation, a noised mean taken off, and a linear model by DP-SGD with Poisson "
        "sampling; delta 1e-5, accounted with privacy loss distributions, the mean included. Mean of five seeds on "
        f"the 10,000 test images. Settings were chosen among {len(searched)} runs on held-out training images; that "
        "search is not accounted for. Seconds are of one processor, from cached features to the model."
    )
    yield ""
    yield "| set | epsilon | accuracy | least and most | noise | batch, steps | seconds | by Renyi | by PRV | aim |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|"
    for row in rows:
        found, spent = row["accuracies"], row["spent"]
        mean, longest = statistics.mean(found), max(row["seconds"])
        aim = _AIMS.get((row["set"], row["epsilon"]))
        kept = aim is None or (mean >= aim and longest <= _MOST_SECONDS)
        said = "–" if aim is None else f">= {aim:.1%}, {'met' if kept else '**missed**'}"
        yield (
            f"| {_SETS[row['set']]} | {spent['pld']:.3f} | {mean:.2%} | {min(found):.2%}–{max(found):.2%} "
            f"| {row['noise']:.3f} | {row['batch']}, {row['steps']} | {longest:.0f} "
            f"| {spent['rdp']:.3f} | {spent['prv']:.3f} | {said} |"
        )


def _speed(measured: dict[str, Any] | None) -> Iterable[str]:
    if measured is None:
        return
    yield ""
    yield (
        f"A step of DP-SGD on a linear model of {measured['features']:,} features and 10 classes, on one core, in "
        f"processor milliseconds: the median of {measured['rounds']} rounds, in each of which every way takes the same "
        "rows in turn. Opacus draws its noise from torch's seeded generator, which is the faster one, and is spared "
        "the time of its sampler."
    )
    yield ""
    first = next(iter(measured["seconds"].values()))
    yield f"| batch | {' | '.join(first)} |"
    yield "|---" + "|---:" * len(first) + "|"
    for batch, seconds in measured["seconds"].items():
        yield f"| {batch} | {' | '.join(f'{at * 1e3:.1f}' for at in seconds.values())} |"
    yield ""
    for batch, seconds in measured["seconds"].items():
        ours = seconds["ours"]
        gains = {way: seconds[f"opacus {way}"] / ours for way in ("hooks", "ghost")}
        prices = {way: ours / seconds[f"plain, {way}"] for way in ("blocks", "torch")}
        yield (
            f"Batch {batch}: "
            + ", ".join(f"{gain:.1f}x opacus' {way} ({_kept(gain >= _LEAST_GAIN)})" for way, gain in gains.items())
            + f" (aim >= {_LEAST_GAIN}x); "
            + ", ".join(
                f"{price:.2f}x plain SGD in {way} ({_kept(price <= _MOST_PRICE)})" for way, price in prices.items()
            )
            + f" (aim <= {_MOST_PRICE}x)."
        )
        yield ""


def _accountants(rows: list[dict[str, Any]]) -> Iterable[str]:
    if not rows:
        return
    both = [row for row in rows if row["prv"] is not None]
    apart = [abs(row["prv"] / row["pld"] - 1) for row in both]
    looser = sorted(row["rdp"] / row["pld"] for row in rows)
    below = [row for row in rows if min(row["pld"], row["rdp"], row["prv"] or row["rdp"]) < row["lower"]]
    agree = sum(share <= _AGREE for share in apart)
    yield ""
    yield (
        f"Accountants, {len(rows)} settings at delta 1e-5: privacy random variables (opacus) differ from privacy loss "
        f"distributions (dp-accounting) by {statistics.median(apart):.2%} in the median and {max(apart):.2%} at "
        f"most, {agree} of {len(both)} within 2 % ({_kept(agree == len(rows))}); opacus gave no answer for "
        f"{len(rows) - len(both)}. Renyi divergences are above by a factor of {statistics.median(looser):.2f} in the "
        f"median, {looser[-1]:.2f} at most. {len(below)} fell below the lower estimate ({_kept(not below)})."
    )


def _kept(kept: bool) -> str:
    return "met" if kept else "**missed**"
