"""`redoubt influence`: from one decision in the audit log to the training points that carried it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from redoubt.cli.app import app, out
from redoubt.cli.logs import AsJson, Key, Witnesses, key_of, reader_of, witnesses_of
from redoubt.policy import read_policy
from redoubt.records import PolicyError


class _By(StrEnum):
    TRACIN = "tracin"
    REPRESENTER = "representer"
    NEIGHBOURS = "neighbours"


@app.command()
def influence(
    policy: Annotated[Path, typer.Argument(help="The policy of the guard that decided.", show_default=False)],
    decision: Annotated[int, typer.Option(min=0, help="Index of the entry in the log, as the receipt names it.")],
    log: Annotated[
        Path | None, typer.Option(help="The log's folder.", show_default="guard.record.log of the policy")
    ] = None,
    input_: Annotated[
        Path | None,
        typer.Option(
            "--input",
            help="The input's file (.npy, PNG or JPEG), where the log keeps none; the log's digest or fingerprint "
            "proves it.",
            show_default=False,
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-k", min=1, max=1000, help="Training points to show.")] = 10,
    by: Annotated[_By, typer.Option(help="What they are ordered by.")] = _By.TRACIN,
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures.", show_default=False)] = None,
    as_json: AsJson = False,
    key: Key = None,
    witness: Witnesses = None,
) -> None:
    """Show the training points that carried one DECISION of a guard's log.

    TracIn and representer points of the last layer, in closed form, and the nearest training points in the layer before
    it. A reason to look at a point, and no proof that the answer would have been another without it.

    Exit codes: 0 done; 1 the log was tampered with; 3 an argument is wrong, or the input is not the one; 4 a fault of
    Redoubt's own.

    Example: redoubt influence digits.yaml --decision 17 --input digit.npy --by representer
    """
    from redoubt.report.trail import render_trail
    from redoubt.service.trail import follow
    from redoubt.storage import write_atomically

    file = read_policy(policy)
    guard = file.policy.guard
    if log is None:
        if guard is None:
            raise PolicyError("the policy has no guard, so that it names no log", file.place(), remedy="give --log")
        log = file.base / guard.record.log
    reader = reader_of(log, key_of(log, key), witnesses_of(witness))
    trail, train, x = follow(file, reader, decision, input_, count, by.value)
    model = file.policy.model
    if html is not None:
        shown = train.x[[point.row for point in trail.points]].numpy()
        page = render_trail(trail, x.numpy(), shown, model.labels or (), model.input.range)
        write_atomically(html, page.encode())
    if as_json:
        print(trail.model_dump_json())
        return

    def name(label: int) -> str:
        return model.labels[label] if model.labels and 0 <= label < len(model.labels) else str(label)

    table = Table("row", "label", "model says", "TracIn", "representer", "similarity", "digest")
    for point in trail.points:
        values = [f"{value:.4g}" if value is not None else "" for value in (point.tracin, point.representer)]
        answer = name(point.answer) + ("" if point.answer == point.label else "  <- otherwise")
        digest = point.digest.removeprefix("sha256:")[:12]
        table.add_row(str(point.row), name(point.label), answer, *values, f"{point.similarity:.3f}", digest)
    out.print(
        f"entry {trail.index}: answered {name(trail.label)}; the input is proved by its {trail.proved} in the log",
        markup=False,
        soft_wrap=True,
    )
    out.print(table)
    if trail.agrees is False:
        out.print("the layer that was fitted for the representer points answers otherwise: they explain it less well")
    if html is not None:
        out.print(f"page: {html}", markup=False, soft_wrap=True)
