"""`redoubt repair`: take a backdoor out of the model of a policy, with clean data and without the planter's."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from redoubt.cli.app import app, err, out
from redoubt.cli.progress import Shown
from redoubt.policy import read_policy

if TYPE_CHECKING:
    from redoubt.harden.repair import Repaired

_UNDECIDED = 2


def repaired_policy(policy: Path) -> Path:
    """Where the policy of the repaired model goes: `digits.yaml` to `digits.repaired.yaml`."""
    return policy.with_suffix(f".repaired{policy.suffix}")


class Steps(Shown):
    """A line for each step, and on a terminal a bar below them."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("repair"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=err,
            disable=not err.is_terminal,
        )
        self._task = self._progress.add_task("", total=None)

    def heard(self, what: str, done: int, of: int) -> None:
        """Show what was done, how many steps are, of how many at most."""
        err.print(what, markup=False, soft_wrap=True)
        self._progress.update(self._task, total=of, completed=done)


@app.command()
def repair(
    policy: Annotated[
        Path, typer.Argument(help="The policy file; its `data.train` are images that you trust.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for the new weights.", show_default="POLICY.repaired"),
    ] = None,
    suspect: Annotated[
        int | None,
        typer.Option("--class", help="The class that triggers lead to.", show_default="the one that stands out most"),
    ] = None,
    price: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Accuracy that it may cost, 0..1: a round that costs more is undone."),
    ] = 0.015,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Rounds at most.")] = 5,
    classes: Annotated[
        int, typer.Option(min=5, max=1000, help="Classes to compare, where there are more: those most easily reached.")
    ] = 10,
    device: Annotated[str, typer.Option(help="Torch device.")] = "cpu",
) -> None:
    """Take a backdoor out of the torch model of a POLICY, with images that you trust and without the planter's.

    For each class, the smallest trigger that sends images there is searched, in three families: patches, pixels, and
    faint noise all over. A class whose trigger is less than half as large as the median one is suspected. Its triggers
    are unlearnt and searched anew, round by round, until it is harder to reach than an ordinary class; the model's own
    answers to clean images hold the rest in place. A quarter of the images is held out to see what that costs.

    Leaves new weights and the evidence (repaired.json: anomaly and accuracy, before and after), and beside the policy a
    copy of it that names them. Each file is written whole or not at all, the policy last.

    Not found so: backdoors of every class at once, warps, and triggers that differ on every input. Images that resemble
    each other, as frames of one video do, make the price look lower than it is: assess the repaired model on others.

    Exit codes: 0 repaired, the class no longer stands out; 2 undecided: no class stands out, and nothing was written,
    or the class still stands out when rounds or price are spent; 3 the policy, an argument or the data are wrong; 4 a
    fault of Redoubt's own.

    Example: redoubt repair bought.yaml && redoubt assess bought.repaired.yaml
    """
    file = read_policy(policy)
    # Torch takes seconds to import: only the commands that compute wait for it.
    from redoubt.harden.repair import Wish
    from redoubt.harden.repair import repair as run_repair
    from redoubt.storage import write_atomically

    folder = output or policy.with_suffix(".repaired")
    wish = Wish(suspect, price, rounds, classes)
    with Steps() as steps:
        done = run_repair(file, folder, device, wish, steps.heard)
    label = file.policy.model.labels
    name = label[done.evidence.suspect] if label else str(done.evidence.suspect)
    _say(done, name)
    if done.weights is None:
        raise typer.Exit(_UNDECIDED)
    target = repaired_policy(policy)
    weights = os.path.relpath(done.weights.resolve(), file.base.resolve())
    write_atomically(target, file.with_weights(weights).encode())
    out.print(f"weights and evidence: {folder}", markup=False, soft_wrap=True)
    out.print(f"now assess it:  redoubt assess {target}", markup=False, soft_wrap=True)
    if not done.is_gone:
        raise typer.Exit(_UNDECIDED)


def _say(done: "Repaired", name: str) -> None:
    evidence = done.evidence
    was, now = (
        "no trigger leads there" if hardness is None else f"{hardness:.2f} times as hard to reach as an ordinary class"
        for hardness in (evidence.hardness_before, evidence.hardness_after)
    )
    index = [max(each.index for each in scanned) for scanned in (evidence.before, evidence.after)]
    if not evidence.rounds:
        said = "no round was needed" if evidence.named else "no class stands out; give --class if you suspect one"
        out.print(f"class {name}: {was}; {said}; nothing was written", markup=False, soft_wrap=True)
        return
    out.print(f"class {name}: {was}; now {now}", markup=False, soft_wrap=True)
    out.print(f"anomaly index, any class: {index[0]:.1f} to {index[1]:.1f}", markup=False, soft_wrap=True)
    out.print(
        f"price: clean accuracy {evidence.clean_before:.1%} to {evidence.clean_after:.1%} of {evidence.examples:,} "
        f"held out, after {sum(each.kept for each in evidence.rounds)} rounds on {evidence.trained:,} others, "
        f"{evidence.seconds:,.0f} s",
        markup=False,
        soft_wrap=True,
    )
    if done.weights is None:
        out.print("the first round cost more than --price: it was undone, and nothing written", markup=False)
    elif not done.is_gone:
        out.print("it still stands out: allow more --rounds or a higher --price", markup=False, soft_wrap=True)
