"""The guard's part of docs/results.md."""

from collections.abc import Iterable
from typing import Any

from common import told

AIM_RATIO, AIM_P99, AIM_APPENDS = 0.6, 2.0, 20.0


def part(machine: str, before: str) -> list[str]:
    """All that was measured of the guard; a section, or a scenario of the work factor, that was not stays as it was.

    Args:
        machine: what it was measured on.
        before: the part as it stands on the page.
    """
    old = _split(before, tuple(SECTIONS))
    parts: list[str] = []
    for heading, section in SECTIONS.items():
        lines = list(section(old.get(heading, "")) if section is work else section())
        kept = [old[heading]] if heading in old else []
        parts += lines or kept
    return ["# The guard\n", machine, *parts] if parts else []


def _split(text: str, headings: tuple[str, ...]) -> dict[str, str]:
    """The text from each of these lines to the next of them, without what stands before the first."""
    found: dict[str, list[str]] = {}
    at: str | None = None
    for line in text.splitlines():
        if line in headings:
            found[at := line] = []
        if at is not None:
            found[at].append(line)
    return {heading: "\n".join(lines).strip("\n") + "\n" for heading, lines in found.items()}


def of(found: dict[str, float]) -> str:
    """A counted share with its interval."""
    if not found["of"]:
        return "–"
    return f"{100 * found['hits'] / found['of']:.1f} % ({100 * found['low']:.1f}–{100 * found['high']:.1f})"


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; all columns but the first are numbers, on the right."""
    head = list(head)
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def load() -> Iterable[str]:
    """The guard beside the same stack without its steps, and beside MLServer."""
    found = told("guard_load")
    if found is None:
        return
    names = {
        "guard": "guard, full chain",
        "bare": "(a) the same stack, every guard step off",
        "mlserver-0": "(b) MLServer 1.7.1, `parallel_workers: 0`",
        "mlserver-1": "(b) MLServer 1.7.1, `parallel_workers: 1`",
    }
    rounds = len(found["runs"]["guard"])
    yield "## Under load\n"
    yield (
        f"The plain MNIST network as one ONNX file, served three ways in turn, {rounds} rounds of "
        f"{found['seconds']} s each "
        f"after warming up; wrk, {found['connections']} connections on the same two cores, the same JSON bodies. "
        "The guard "
        f"identifies, looks up fingerprints among {found['stored']:,}, searches 58,000 training points in two "
        "layers, and "
        "has every decision on stable storage before it answers. Medians.\n"
    )
    rows = [
        (names[name], f"{row['per_second']:.0f}", f"{row['p50_ms']:.0f} ms", f"{row['p99_ms']:.0f} ms")
        for name, row in found["median"].items()
    ]
    yield table(("served by", "requests/s", "p50", "p99"), rows) + "\n"
    to_bare, p99, to_mlserver = (found[key] for key in ("per_second_to_bare", "p99_to_bare", "per_second_to_mlserver"))
    yield "Ratios within a round, as median (least–greatest):\n"
    for what, ratio, aim, met in (
        ("requests/s, guard over (a)", to_bare, f"at least {AIM_RATIO}", to_bare["median"] >= AIM_RATIO),
        ("p99, guard over (a)", p99, f"at most {AIM_P99:g}", p99["median"] <= AIM_P99),
        ("requests/s, guard over the better (b)", to_mlserver, "more than 1", to_mlserver["median"] > 1),
    ):
        spread = f"{ratio['median']:.2f} ({ratio['min']:.2f}–{ratio['max']:.2f})"
        yield f"- {what}: {spread}; aim: {aim}: {'met' if met else '**missed**'}."
    steps = ", ".join(f"{step}: {micros:.0f}" for step, micros in found["step_us"].items())
    yield f"\nMicroseconds per request spent in each step, on the clock, under load: {steps}.\n"


def memory() -> Iterable[str]:
    """Resident memory over many requests."""
    found = told("guard_memory")
    if found is None:
        return
    series = found["series"]
    later = [point["rss_mib"] for point in series if point["requests"] >= 50_000]
    yield "### Memory\n"
    yield (
        f"{series[-1]['requests']:,} requests through the whole chain in one process, in batches of "
        f"{found['batch']}, each "
        f"with an input that was never sent before: resident memory {series[0]['rss_mib']:.0f} MiB after the first "
        "batch, "
        f"and {min(later):.0f} to {max(later):.0f} MiB from 50,000 requests on, {later[-1]:.0f} MiB at the end. "
        "The aim is a million.\n"
    )


def ledger() -> Iterable[str]:
    """Appends to the log beside one sync for each entry."""
    found = told("ledger")
    if found is None:
        return
    yield "## The audit log\n"
    yield (
        f"Entries of {found['entry_bytes']:,} bytes on the disk of the bench, ways in turn; the ratio is to a "
        "plain file "
        "that one appender syncs after every entry.\n"
    )
    one = next(iter(found["ways"].values()))["entries_per_second"]
    rows = [
        (
            name,
            f"{way['entries_per_second']:,.0f} ({way['min']:,.0f}–{way['max']:,.0f})",
            f"{way['entries_per_second'] / one:.1f}x",
            f"{way['append_milliseconds_median']:.2f} ms",
        )
        for name, way in found["ways"].items()
    ]
    yield table(("way", "entries/s", "ratio", "one append, median"), rows) + "\n"
    yield (
        f"Aim: {AIM_APPENDS:g}x with 64 appenders. Verifying the whole log offline: "
        f"{found['verified_entries_per_second']:,.0f} entries/s.\n"
    )


def analysers() -> Iterable[str]:
    """What `redoubt audit analyse` finds, and whom it accuses."""
    found = told("analysers")
    if found is None:
        return
    extraction, membership = found["extraction"], found["membership"]
    yield "## Analysers of the log\n"
    yield (
        f"MNIST, fingerprints alone kept. Extraction: {extraction['honest']} honest accounts in {found['logs']} "
        "logs, "
        f"{extraction['accused']['policy']} accused with `--policy`, {extraction['accused']['no policy']} without.\n"
    )
    rows = [(name, counts["policy"], counts["no policy"]) for name, counts in extraction["found"].items()]
    yield table((f"planted extraction, found out of {found['logs']}", "with `--policy`", "without"), rows) + "\n"
    rows = [
        (name, row["searches"], row["found"]) for name, row in found["reconnaissance"].items() if isinstance(row, dict)
    ]
    yield table(("reconnaissance: searches by queries", "searches", "found"), rows) + "\n"
    probes = ", ".join(f"{name}: {'found' if hit else 'not found'}" for name, hit in membership["found"].items())
    yield (
        f"Membership probing: {probes}; {membership['accused']} of {membership['honest']} honest accounts accused.\n"
    )


def work(before: str) -> Iterable[str]:
    """The attacker's work, bare against guarded; scenarios that were not played now stay as they were before."""
    found = told("work_factor")
    if found is None:
        return
    titles = tuple(line for line in before.splitlines() if line.startswith("### "))
    old = {heading.removeprefix("### "): text for heading, text in _split(before, titles).items()}
    yield "## What the guard is worth\n"
    yield (
        "The attacker's work on the plain MNIST model: the model alone (*bare*), and through the whole guard, in one "
        "process with a clock that passes only when somebody waits. *Naive* strategies go on as if there were no "
        "guard; "
        "*adaptive* ones know its rules, stay unlike themselves and spread over accounts (after OARS, Feng et al. "
        "2023). "
        "Each strategy meets a guard that remembers nothing, and has its own accounts for each image. Figures of "
        "success "
        "are medians over the images that fell. The honest figure is the strongest line.\n"
    )
    for name in dict.fromkeys([*old, *found]):
        if name not in found:
            yield old[name]
            continue
        row = found[name]
        scenario = row["scenario"]
        refused = f"{row['honest refused']} of {row['honest']}"
        yield f"### {name}\n"
        yield (
            f"Up to {scenario['queries']} queries and {scenario['accounts']} accounts an image; the attacker sees "
            "the "
            f"{row['shows']}; {refused} other, honest queries were refused.\n"
        )
        lines = [
            (
                f"{campaign['manner']} `{campaign['strategy']}`",
                f"{campaign['won']}/{campaign['tried']} ({100 * campaign['low']:.0f}–{100 * campaign['high']:.0f} %)",
                *("–" if campaign[key] is None else f"{campaign[key]:.0f}" for key in ("queries", "accounts")),
                "–" if campaign["hours"] is None else f"{campaign['hours']:.1f}",
                "–" if campaign["price"] is None else f"{campaign['price']:.0f}",
                f"{100 * campaign['refusals'] / max(campaign['asked'], 1):.0f} %",
            )
            for campaign in row["campaigns"]
        ]
        head = (
            "attacker",
            "succeeded",
            "queries",
            "accounts",
            "hours",
            "queries per success, failures included",
            "refused",
        )
        yield table(head, lines) + "\n"


def detectors() -> Iterable[str]:
    """What is refused, and what the attack that knows deep k-NN achieves."""
    found = told("detectors")
    if found is None:
        return
    clean = found["clean"]
    yield "## What is refused\n"
    yield (
        f"Plain MNIST model; deep k-NN over its 60,000 training images in the layers {', '.join(found['layers'])}; "
        f"rules `credibility >= {found['credible']}` and `similar_queries < 25`. Bounds were chosen on training "
        "images. "
        "Clean: all 10,000 test images, sent by one account.\n"
    )
    yield (
        table(
            ("10,000 clean test images", "refused"),
            [
                ("**false refusals, both rules** (aim: at most 2 %)", of(clean["either"])),
                ("by `credibility`", of(clean["supported"])),
                ("by `similar_queries`", of(clean["not probing"])),
                ("of those that the model answers rightly", of(clean["right answers refused"])),
                ("of those that it answers wrongly", of(clean["wrong answers refused"])),
            ],
        )
        + "\n"
    )
    yield (
        table(
            (
                "inputs",
                "number",
                "refused by `credibility`",
                "of the wrong answers",
                "AUROC",
                "AUROC of `confidence`",
                "of `squeeze_gap`",
            ),
            [
                (
                    name,
                    kind["refused"]["of"],
                    of(kind["refused"]),
                    of(kind["wrong answers refused"]),
                    *(f"{kind['auroc'][signal]:.3f}" for signal in ("credibility", "confidence", "squeeze_gap")),
                )
                for name, kind in found["kinds"].items()
            ],
        )
        + "\n"
    )
    yield "### The attack that knows deep k-NN\n"
    yield (
        "An insider who has the model, the training data and the detector, and moves the layers' outputs towards "
        "training images of another class (`redoubt.detectors.aware`).\n"
    )
    yield (
        table(
            ("set", "images", "wrong", "wrong and admitted"),
            [
                (within, row["wrong"]["of"], of(row["wrong"]), of(row["wrong and admitted"]))
                for within, row in found["aware"].items()
            ],
        )
        + "\n"
    )
    yield "Deep k-NN does not stop this attacker. It is there for inputs that are unlike the training data.\n"
    yield "### Cost\n"
    yield (
        table(
            ("milliseconds per query, one core, batches of", "1", "8", "32"),
            [(name, *(f"{row[size]:.2f}" for size in ("1", "8", "32"))) for name, row in found["milliseconds"].items()],
        )
        + "\n"
    )
    prints: dict[str, Any] = found["fingerprints"]
    yield (
        f"Fingerprints, with {prints['remembered']:,} remembered, in batches of 32: "
        f"{prints['microseconds to hash']:.0f} µs "
        f"to hash, {prints['microseconds to add']:.0f} µs to remember, {prints['microseconds to look']:.0f} µs to "
        "look up; "
        f"{prints['bytes per print']:.0f} bytes each.\n"
    )


SECTIONS = {
    "## Under load": load,
    "### Memory": memory,
    "## The audit log": ledger,
    "## What is refused": detectors,
    "## Analysers of the log": analysers,
    "## What the guard is worth": work,
}
"""By the line that each begins with, in the order of the page."""
