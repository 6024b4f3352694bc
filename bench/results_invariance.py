"""The section on balls that hold training images of another class."""

from collections.abc import Iterable

from common import told


def section() -> Iterable[str]:
    """MNIST: for each ball, how many test images have a training image of another class in it."""
    result = told("invariance")
    if result is None:
        return
    yield "## Balls that the data do not bear (MNIST)\n"
    yield (
        f"{result['images']:,} test images against {result['training']:,} training images, exactly; 95 % intervals. "
        "Kept: the model gives that training image the test image's label.\n"
    )
    names = list(result["balls"][0]["kept"])
    yield (
        "| ball | another class within | nearest seen | "
        + " | ".join(f"kept by {name}" for name in names)
        + " | time |"
    )
    yield "|---|---|---" + "|---" * len(names) + "|---|"
    for line in result["balls"]:
        low, high = line["interval"]
        kept = " | ".join(str(line["kept"][name]) for name in names)
        within = f"{line['reachable']} ({100 * low:.1f}–{100 * high:.1f} %)"
        yield f"| {line['ball']} | {within} | {line['nearest']:.3g} | {kept} | {line['seconds']:.1f} s |"
    yield ""
