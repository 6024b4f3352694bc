"""The measured figures as a page: `.bench/out/*.json` to Markdown.

python bench/results.py docs/results.md
"""

import os
import platform
import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import guard_results
import results_backdoor
import results_black_box
import results_gallery
import results_harden
import results_invariance
import results_membership
import results_memorisation
import results_minimum_norm
import results_pate
import results_poisoning
import results_private
import results_prove
import results_sets
import results_suite
import results_supply
import results_tables
import results_update
from common import keep, told
from tables_of import interval, share, table

AIM_RATIO = 1.02
AIM_POINTS = 0.3


def cpu() -> str:
    """The processor."""
    return next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )


def machine() -> str:
    """What the figures were measured on."""
    names = ("torch", "numpy", "foolbox", "torchattacks", "adversarial-robustness-toolbox", "pyautoattack")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return (
        f"Machine: {cpu()}, {os.cpu_count()} cores, no GPU; {platform.system()}, Python {platform.python_version()}; "
        f"{versions}. Seed 0 everywhere unless a line says otherwise. Intervals are 95 % (Clopper and Pearson)."
    )


def guard_machine() -> str:
    """The same, of the benches of the guard, which need none of the peers."""
    names = ("torch", "onnxruntime", "numpy", "starlette", "uvicorn", "sqlalchemy")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return (
        f"Machine: {cpu()}, {os.cpu_count()} cores, no GPU; {platform.system()}, Python {platform.python_version()}; "
        f"{versions}. Seed 0. Intervals are 95 % (Clopper and Pearson).\n"
    )


# ── the models ───────────────────────────────────────────────────────────────────────────────────────────────────


def models() -> Iterable[str]:
    """How the two models came about."""
    train, harden = told("train"), told("harden")
    if train is None or harden is None:
        return
    recipe, last = harden["recipe"], harden["history"][-1]
    yield "## The models\n"
    yield (
        "A small convolutional network for MNIST (`bench/mnist_model.py`: two strided 4x4 convolutions of 16 and 32 "
        "channels, two linear layers), trained in the ordinary way, and the same network after `redoubt harden` "
        f"against Linf 0.3 ({recipe['epochs']} epochs, {recipe['steps']} attack steps, batch {recipe['batch']}, "
        f"learning rate {recipe['learning_rate']:g}, warm-up {recipe['warmup']}). Whatever was chosen was chosen on "
        "held-out training images; test images were looked at for this page only.\n"
    )
    rows = []
    for name, step in (("plain", train), ("hardened", harden)):
        test = step["test"]
        rows.append(
            (
                name,
                f"{100 * test['right'] / test['of']:.2f} % ({interval(test['low'], test['high'])})",
                share(last["robust"]) if name == "hardened" else "–",
                f"{step['seconds']:.0f} s",
            )
        )
    head = ("model", "clean accuracy, 10,000 test images", "held out, under the training attack", "made in")
    yield table(head, rows) + "\n"


# ── assessments ──────────────────────────────────────────────────────────────────────────────────────────────────


def assessments() -> Iterable[str]:
    """Every requirement of both models: verdicts first, then strategy by strategy."""
    found = {which: told(f"assess-{which}") for which in ("plain", "hardened")}
    if None in found.values():
        return
    yield "## Assessments\n"
    yield (
        "`redoubt assess` on 1,000 class-balanced test images (`take: 1000, seed: 0`), white box, without a budget: "
        "every strategy plays to its own end, each against the images that the ones before it left standing.\n"
    )
    rows = []
    for which, done in found.items():
        for requirement in done["evidence"]["requirements"]:
            measures = {m["measure"]: m for m in requirement["measures"]}
            robust, work = measures["robust_accuracy"], requirement["work"]
            seconds = sum(done["timings"]["seconds"].get(requirement["id"], {}).values())
            rows.append(
                (
                    f"{which}, {requirement['within']}",
                    requirement["require"],
                    f"**{requirement['verdict']}**",
                    share(robust["successes"] / robust["trials"]),
                    interval(robust["interval"]["low"], robust["interval"]["high"]),
                    f"{sum(work[k] for k in ('forwards', 'backwards', 'queries')) / 1e6:.2f} M",
                    f"{seconds:.0f}",
                )
            )
    yield table(("model, set", "required", "verdict", "robust", "95 %", "passes", "CPU seconds"), rows) + "\n"
    for which, done in found.items():
        yield f"The {which} model took {done['seconds']:.0f} s from command to report.\n"
    for which, done in found.items():
        for requirement in done["evidence"]["requirements"]:
            yield f"### {which.capitalize()} model, {requirement['within']}\n"
            yield strategies(requirement, done["timings"]["seconds"].get(requirement["id"], {})) + "\n"
            yield f"{requirement['verdict'].capitalize()}: {requirement['reason']}\n"
            for sign in requirement["signs"]:
                yield f"- sign `{sign['name']}`: {sign['explanation']}\n"
            points = ", ".join(
                f"{p['within']}: {share(p['robust']['successes'] / p['robust']['trials'])}"
                for p in requirement["curve"]
            )
            yield f"Curve ({requirement['curve'][0]['robust']['trials']} images, quick probes): {points}.\n"


def strategies(requirement: dict[str, Any], seconds: dict[str, float]) -> str:
    """One requirement's strategies, in the order they were played."""
    rows = []
    for outcome in requirement["outcomes"]:
        work = outcome["work"]
        passes = sum(work[kind] for kind in ("forwards", "backwards", "queries"))
        median = outcome["passes_to_fool"]
        rows.append(
            (
                f"`{outcome['strategy']}`",
                outcome["attacked"],
                outcome["fooled"],
                f"{passes / max(outcome['attacked'], 1):.0f}",
                "–" if median is None else f"{median:.0f}",
                f"{seconds.get(outcome['strategy'], 0.0):.1f}",
            )
        )
    return table(
        ("strategy", "attacked", "fooled", "passes per image", "median passes of the fooled", "CPU seconds"), rows
    )


# ── peers ────────────────────────────────────────────────────────────────────────────────────────────────────────


def peers() -> Iterable[str]:
    """PGD-40 beside the bare loop and three libraries."""
    found = told("peers")
    if found is None:
        return
    yield "## PGD-40 beside a bare loop and three libraries\n"
    yield (
        "One process, the same model, images, radius, step (2.5 / 40 of the radius) and random start; batches of "
        f"{found[0]['batch']}, {found[0]['threads']} threads. Each contender runs once per round, in rotating order; a "
        "ratio is its time over the bare loop's in the same round, told as median (least–greatest) of "
        f"{found[0]['rounds']} rounds. The time ends when it is known which images are fooled. *Same passes*: images "
        "that stronger attacks had left standing, so that all contenders make all their steps. *As shipped*: all "
        "images; ours goes on with survivors only.\n"
    )
    for part in found:
        yield (
            f"### {part['model'].capitalize()} model, Linf {part['radius']:g}, {part['setting']} "
            f"({part['images']} images)\n"
        )
        rows = [
            (
                name,
                f"{c['ratio']['median']:.3f} ({c['ratio']['min']:.2f}–{c['ratio']['max']:.2f})",
                f"{c['seconds']:.2f}",
                share(c["robust_accuracy"]["median"]),
            )
            for name, c in part["contenders"].items()
        ]
        yield table(("contender", "time / bare loop", "seconds", "robust, judged alike"), rows) + "\n"
        ratio = part["contenders"]["redoubt PGD in the game"]["ratio"]["median"]
        if part["setting"] == "same passes":
            met = "met" if ratio <= AIM_RATIO else "**missed**"
            yield (
                f"Aim: at most {AIM_RATIO:g} times the bare loop: {met} ({ratio:.3f}). Ours made {part['passes']:.1f} "
                "passes per image, the bare loop 81; beside those, the judge asks the model once more.\n"
            )
        else:
            yield f"With survivors only, ours made {part['passes']:.1f} passes per image; the others 81.\n"


# ── reference, cheaper passes ────────────────────────────────────────────────────────────────────────────────────


def reference() -> Iterable[str]:
    """APGD beside pyautoattack."""
    found = told("reference")
    if found is None:
        return
    yield "## APGD beside the reference implementation\n"
    yield (
        "`pyautoattack` 0.2.0, 100 steps, one start, nine targets, on the same 1,000 images and model; for L1 with the "
        "reference's own schedule of three radii. Robust accuracy is the mean over the seeds, the interval that of "
        "the first; the difference is ours minus the reference's in points: below zero, ours is the stronger attack.\n"
    )
    rows = []
    for row in found:
        ours, theirs = row["ours"], row["reference"]
        mean = {
            who: sum(row[who]["robust_accuracy"]) / len(row[who]["robust_accuracy"]) for who in ("ours", "reference")
        }
        rows.append(
            (
                f"{row['model']}, {row['norm']} {row['radius']:g}, `{row['attack']}`",
                len(ours["robust_accuracy"]),
                f"{100 * mean['ours']:.2f} % ({interval(*ours['interval'])})",
                f"{100 * mean['reference']:.2f} % ({interval(*theirs['interval'])})",
                f"{row['difference_points']:+.2f}",
                f"{ours['passes']:.0f} / {theirs['passes']:.0f}",
                f"{ours['seconds']:.0f} / {theirs['seconds']:.0f}",
            )
        )
    head = ("model, set, attack", "seeds", "ours", "reference", "difference", "passes per image", "seconds")
    yield table(head, rows) + "\n"
    outside = [row for row in found if abs(row["difference_points"]) > AIM_POINTS]
    weaker = [row for row in outside if row["difference_points"] > 0]
    yield f"Aim: within {AIM_POINTS} points. {len(found) - len(outside)} of {len(found)} rows are within.\n"
    if len(outside) > len(weaker):
        yield (
            f"In {len(outside) - len(weaker)} rows ours finds more than that beyond the reference. In L2 its step is "
            "the steepest one inside the box of valid images, where the reference's loses length at the walls.\n"
        )
    for row in weaker:
        yield (
            f"- **Weaker**: {row['model']}, {row['norm']} {row['radius']:g}, `{row['attack']}`: "
            f"{row['only_reference']} images fooled by the reference alone, {row['only_ours']} by ours alone.\n"
        )


def cheaper() -> Iterable[str]:
    """Ways to compute a pass more cheaply."""
    found = told("cheaper")
    if found is None:
        return
    yield "## Cheaper passes\n"
    yield (
        "The attacks against a copy of the model that computes in another way; their points are judged by the model "
        "itself. *First* includes compilation. *Changed*: images whose answer under attack came out differently than "
        "with eager float32.\n"
    )
    rows = [
        (
            f"{row['model']}, Linf {row['radius']:g}, `{row['attack']}`, {row['way']}",
            f"{row['first_seconds']:.1f}",
            f"{row['seconds']:.1f}",
            share(row["standing"] / row["images"]),
            row["changed"],
        )
        for row in found
    ]
    yield table(("model, set, attack, way", "first, s", "then, s", "robust", "changed"), rows) + "\n"
    yield (
        "Redoubt computes eagerly in float32. bfloat16 is faster, but an attack that stops where the rounded "
        "model errs leaves images standing that the model itself would lose, so it changes verdicts; compilation "
        "takes longer than the attacks it would speed up. Weight gradients are never computed.\n"
    )


# ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────


def measured_here(section: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """A section on attacks and models as a part of the page, with the machine under its title."""

    def part(_before: str) -> list[str]:
        title, *rest = list(section()) or [""]
        return [title, machine() + "\n", *rest] if rest else []

    return part


def alone(section: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """A section that is measured by itself, as a part of the page."""

    def part(_before: str) -> list[str]:
        return list(section())

    return part


BLACK_BOX = [
    f"{model}, {access}"
    for access in ("scores", "label")
    for model in ("plain, Linf 0.15", "plain, Linf 0.2", "plain, L2 2", "hardened, Linf 0.3", "hardened, L2 2")
]

PARTS = {
    "models": measured_here(models),
    "assessments": measured_here(assessments),
    "peers": measured_here(peers),
    "reference": measured_here(reference),
    "cheaper": measured_here(cheaper),
    "suite": alone(results_suite.section),
    "supply": alone(results_supply.section),
    "backdoor planted": alone(results_backdoor.planted),
    "backdoor data": alone(results_backdoor.data),
    "backdoor spectre": alone(results_backdoor.spectre),
    "backdoor repair": alone(results_backdoor.repaired),
    "backdoor cleanse": alone(results_backdoor.cleansed),
    "backdoor transfer": alone(results_backdoor.transferred),
    "backdoor suspects": alone(results_backdoor.detected),
    "update": alone(results_update.section),
    "gallery": alone(results_gallery.section),
    "minimum norm": alone(results_minimum_norm.section),
    "black box": alone(results_black_box.opening),
    **{f"black box: {name}": alone(partial(results_black_box.race, name)) for name in BLACK_BOX},
    "sets": alone(results_sets.section),
    "tables": alone(results_tables.section),
    "invariance": alone(results_invariance.section),
    "private accuracy": alone(results_private.accuracy),
    "private curve": alone(results_private.curve),
    "private public": alone(results_private.public),
    "private speed": alone(results_private.speed),
    "private accountants": alone(results_private.accountants),
    "membership location": alone(results_membership.location),
    "membership fashion": alone(results_membership.fashion),
    "membership speed": alone(results_membership.speed),
    "poisoning": alone(results_poisoning.section),
    "poisoning linear": alone(results_poisoning.linear),
    "memorisation": alone(results_memorisation.section),
    "pate": alone(results_pate.section),
    "hardening": alone(results_harden.section),
    "proofs": alone(results_prove.section),
    "guard": lambda before: guard_results.part(guard_machine(), before),
}


def page(before: str) -> str:
    """The page, in which each part that was measured here replaces what stood there before.

    A part names its own machine, so that one can be measured without the others.
    """
    whole = ["# Results\n", "Measured by `make bench`, which rewrites this page; do not edit it by hand.\n"]
    for name, measured in PARTS.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        _, _, after = before.partition(begin)
        old = after.partition(end)[0].strip("\n")
        lines = measured(old)
        text = "\n".join([*lines, ""]) if lines else old
        if text.strip():
            whole.append(f"{begin}\n\n{text.strip()}\n\n{end}\n")
    return "\n".join(whole)


def main() -> None:
    """Render the page, and keep what it was made of."""
    path = Path(sys.argv[1])
    keep()
    path.write_text(page(path.read_text() if path.exists() else ""))


if __name__ == "__main__":
    main()
