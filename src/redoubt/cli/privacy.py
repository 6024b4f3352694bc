"""`redoubt privacy`: what a privacy ledger adds up to."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from redoubt.cli.app import app, out
from redoubt.records import PolicyError

privacy = typer.Typer(
    help="What was spent of the privacy of records, by a ledger of all that looked at them.", no_args_is_help=True
)
app.add_typer(privacy, name="privacy")


@privacy.callback()
def _group() -> None:
    """Keeps `report` a word of its own."""


@privacy.command()
def report(
    ledger: Annotated[Path, typer.Argument(help="The privacy ledger, JSON.", show_default=False)],
    delta: Annotated[
        float | None,
        typer.Option(help="The delta to report at.", show_default="the group's budget's, and 1e-5 without one"),
    ] = None,
    group: Annotated[str | None, typer.Option(help="Only this group.", show_default="all")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Say what the events of a LEDGER cost together, for each group of records, and what that means.

    Exit codes: 0 every group is within its budget; 1 one is not; 3 the ledger or an argument is wrong.

    Example: redoubt privacy report ledger.json --delta 1e-5
    """
    from redoubt.bounds.privacy.events import EVERYONE
    from redoubt.bounds.privacy.explain import explain_spend
    from redoubt.bounds.privacy.read import read_ledger
    from redoubt.bounds.privacy.spend import spend

    read = read_ledger(ledger)
    names = [EVERYONE, *(name for name in read.groups if name != EVERYONE)]
    if group is not None and group not in names:
        raise PolicyError(f"there is no group '{group}' in {ledger}", remedy=f"groups are {', '.join(names)}")
    within, told = True, []
    for name in names if group is None else [group]:
        budget = read.groups[name].budget if name in read.groups else None
        asked = delta if delta is not None else budget.delta if budget else 1e-5
        spent = spend(read, asked, name)
        kept = True
        if budget is not None:
            kept = (spent if spent.delta == budget.delta else spend(read, budget.delta, name)).epsilon <= budget.epsilon
            within &= kept
        if as_json:
            told.append(_plain(spent, budget, kept))
            continue
        out.print(Text(f"Group '{name}'", style="bold"))
        for paragraph in explain_spend(spent):
            out.print(Padding(Text(paragraph), (1, 0, 0, 2)))
        if budget is not None:
            verdict = "kept" if kept else "exceeded"
            line = f"Budget: epsilon {budget.epsilon:g} at delta {budget.delta:g}: {verdict}."
            out.print(Padding(Text(line, style="green" if kept else "red"), (1, 0, 0, 2)))
        if spent.shares:
            out.print(Padding(_table(spent), (1, 0, 1, 2)))
    if as_json:
        out.print(json.dumps(told), markup=False, soft_wrap=True)
    raise typer.Exit(0 if within else 1)


def _table(spent: Any) -> Table:
    from redoubt.bounds.privacy.explain import describe_event

    table = Table("what was done", "on", "share", "epsilon alone", box=None, pad_edge=False, header_style="bold")
    for share in spent.shares:
        table.add_row(Text(describe_event(share.event)), share.event.on, f"{share.share:.1%}", f"{share.alone:.4g}")
    return table


def _plain(spent: Any, budget: Any, kept: bool) -> dict[str, Any]:
    return {
        "group": spent.group,
        "epsilon": spent.epsilon,
        "delta": spent.delta,
        "by": spent.by,
        "cross_checks": spent.cross_checks,
        "lower": spent.lower,
        "advantage": spent.advantage,
        "found": {str(rate): found for rate, found in spent.found.items()},
        "posterior": spent.posterior,
        "shares": [
            {"event": share.event.model_dump(mode="json"), "alone": share.alone, "share": share.share}
            for share in spent.shares
        ],
        "unaccounted": [event.model_dump(mode="json") for event in spent.unaccounted],
        "budget": None if budget is None else budget.model_dump(mode="json"),
        "kept": None if budget is None else kept,
    }
