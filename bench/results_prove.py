"""The section on proofs: properties beside Marabou, certified accuracy, smoothing."""

from collections.abc import Iterable, Sequence
from typing import Any

from common import told

NAMES = {
    "dense": "dense, 2 x 32",
    "deep": "dense, 5 x 16",
    "conv": "two convolutions",
    "controller": "controller, 4 x 30",
}


def section() -> Iterable[str]:
    """What is there of it."""
    result = told("prove")
    if result is None:
        return
    yield "## Proofs\n"
    if result.get("properties"):
        yield from _properties(result["properties"])
    bounded = [(name, result[name]) for name in ("ibp-0.1", "ibp-0.3") if name in result]
    if bounded:
        yield from _bounded(bounded)
    smoothed = [(name, result[name]) for name in ("noise-0.25", "noise-0.5") if name in result]
    if smoothed:
        yield from _smoothed(smoothed)


def _properties(results: Sequence[dict[str, Any]]) -> Iterable[str]:
    sure = [r for r in results if r["redoubt"] != "unknown" and r["marabou"] != "unknown"]
    yield (
        f"{len(results)} properties of networks that the bench trains: readers of MNIST at 14 x 14 (the class with the "
        "next best score does not overtake in an Linf ball of radius 0.015 to 0.05) and a controller of 5 inputs that "
        "avoids collisions. Processor seconds of one thread, at most 60 each; Marabou 2.0 as it comes. "
        f"Of the {len(sure)} that both decided, {sum(r['contradict'] for r in sure)} are answered differently. "
        f"All {sum(r['redoubt'] == 'sat' for r in results)} counterexamples of Redoubt were replayed on the network in "
        f"float32: {sum(r['redoubt'] == 'sat' and not r['replayed'] for r in results)} failed. Of Marabou's, "
        f"{sum(r['marabou_replayed'] is False for r in results)} failed in float64 with a tolerance of 1e-5.\n"
    )
    yield (
        "| network | properties | hold | broken | unknown | seconds, all | slowest "
        "| unknown to Marabou | its seconds | slowest |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    for name, words in NAMES.items():
        mine = [r for r in results if r["network"] == name]
        if not mine:
            continue
        counts = [sum(r["redoubt"] == answer for r in mine) for answer in ("unsat", "sat", "unknown")]
        times, theirs = [r["seconds"] for r in mine], [r["marabou_seconds"] for r in mine]
        yield (
            f"| {words} | {len(mine)} | {counts[0]} | {counts[1]} | {counts[2]} | {sum(times):.1f} | {max(times):.2f} "
            f"| {sum(r['marabou'] == 'unknown' for r in mine)} | {sum(theirs):.1f} | {max(theirs):.2f} |"
        )
    yield ""


def _bounded(results: Sequence[tuple[str, dict[str, Any]]]) -> Iterable[str]:
    yield (
        "MNIST, two convolutions and two dense layers, trained by interval bounds at a larger radius (0.2 for 0.1, "
        "0.4 for 0.3, as in Gowal et al. 2018). Certified by intervals: all test images. With proofs: evenly spaced "
        "ones; what intervals leave open is settled by branch and bound within 200 sub-problems.\n"
    )
    yield "| Linf | images | clean | certified by intervals | with proofs | fooled | unknown | training |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for _, result in results:
        answers, looked = result["answers"], result["looked_at"]
        yield (
            f"| {result['radius']:g} | {result['images']:,} | {_share(result['clean'], result['images'])} "
            f"| {_share(result['by_intervals'], result['images'])} "
            f"| {_share(answers['intervals'] + answers['proved'], looked)} of {looked} | {answers['counterexample']} "
            f"| {answers['unknown']} | {result['training']:.0f} s |"
        )
    yield ""


def _smoothed(results: Sequence[tuple[str, dict[str, Any]]]) -> Iterable[str]:
    yield (
        "Randomised smoothing of the same network, trained under noise: share of test images that are answered "
        "rightly and certified at an L2 radius, each wrong with a chance of at most 0.1 %; 10,000 draws. Abstentions "
        "count as wrong.\n"
    )
    radii = list(results[0][1]["accuracy"])
    yield f"| noise | images | abstained | {' | '.join(f'L2 {radius}' for radius in radii)} | seconds |"
    yield "|---|---:|---:" + "|---:" * (len(radii) + 1) + "|"
    for _, result in results:
        shares = " | ".join(f"{100 * result['accuracy'][radius]:.1f} %" for radius in radii)
        head = f"| {result['sigma']:g} | {result['images']} | {result['abstained']}"
        yield f"{head} | {shares} | {result['seconds']:.0f} |"
    yield ""


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"
