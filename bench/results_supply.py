"""The section on artefacts: corpora, signatures."""

from collections.abc import Iterable

from common import told


def section() -> Iterable[str]:
    """What is there of it."""
    result = told("supply")
    if result is None:
        return
    formats = sum(not name.startswith("a ") for name in result["formats"])
    yield "## Where models come from\n"
    yield (
        f"{result['malicious']} files meant to do harm, of {formats} formats: {len(result['allowed'])} allowed "
        f"by the scanner, {len(result['loaded'])} loaded by any of the three loaders, "
        f"{'something' if result['executed'] else 'nothing'} executed. {result['benign']} ordinary files, of "
        f"{len(result['benign_formats'])} formats: {len(result['refused'])} refused. All "
        f"{result['bytes'] / 1e6:.1f} MB scanned in {result['seconds']:.2f} processor seconds of one thread. The "
        "corpora are those of the tests: they grew with the scanner, so they show that it does what it was made for, "
        "and not how it does on attacks that nobody has thought of yet.\n"
    )
    yield "| first finding | files |"
    yield "|---|---:|"
    for kind, count in sorted(result["kinds"].items(), key=lambda item: -item[1]):
        yield f"| {kind} | {count} |"
    yield ""
    signed = result["signatures"]
    words = {True: "yes", False: "no", None: "not measured"}
    yield (
        f"A signed folder: {signed['found']} of {signed['flips']} single flipped bits found, each with its file named "
        "(the lowest bit of every byte). Refused and named: "
        + ", ".join(f"{name}: {words[held]}" for name, held in signed["changes"].items())
        + f". `model_signing` 1.1.1 verifies ours: {words[signed['ours_read_by_theirs']]}; we verify its: "
        f"{words[signed['theirs_read_by_ours']]}.\n"
    )
