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


@privacy.command()
def audit(
    setup: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:FUNCTION", help="Python code that says what to train, and on what.", show_default=False
        ),
    ],
    ledger: Annotated[Path, typer.Argument(help="The privacy ledger of that training, JSON.", show_default=False)],
    delta: Annotated[float, typer.Option(help="The delta at which epsilon is claimed.")] = 1e-5,
    group: Annotated[
        str | None, typer.Option(help="The group of records that is trained on.", show_default="everyone")
    ] = None,
    runs: Annotated[int, typer.Option(help="Trainings; with more than one, only the first canary is planted.")] = 1,
    level: Annotated[float, typer.Option(help="Confidence.", min=0.5, max=0.9999)] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the coins that decide which canaries are planted.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Plant canaries into a training, guess which were there, and hold that against what its LEDGER claims.

    MODULE is looked for in the current folder first, and runs with your rights: name only code that you trust. FUNCTION
    takes nothing and returns a redoubt.games.privacy.Audited.

    Exit codes: 0 nothing was found against the claim, which does not prove it; 1 the training gives away more than the
    ledger says; 3 the ledger or an argument is wrong.

    Example: redoubt privacy audit training:audited ledger.json --delta 1e-5
    """
    import torch

    from redoubt.bounds.privacy.claim import claim_of
    from redoubt.bounds.privacy.events import EVERYONE
    from redoubt.bounds.privacy.read import read_ledger
    from redoubt.games.privacy import audited_from, play_many_runs, play_one_run
    from redoubt.records import Verdict

    read = read_ledger(ledger)
    name = group or EVERYONE
    if name != EVERYONE and name not in read.groups:
        known = ", ".join([EVERYONE, *read.groups])
        raise PolicyError(f"there is no group '{name}' in {ledger}", remedy=f"groups are {known}")
    claim, curve = claim_of(read, delta, name)
    audited = audited_from(setup, Path())
    rng = torch.Generator().manual_seed(seed)
    if runs == 1:
        found = play_one_run(audited.traces, audited.x, audited.y, audited.canaries, claim, curve, rng, level)
    else:
        alone = audited.with_one_canary()
        found = play_many_runs(alone.traces, alone.x, alone.y, alone.canaries, runs, claim, curve, rng, level)
    violated = found.verdict is Verdict.VIOLATED
    if as_json:
        out.print(found.model_dump_json(), markup=False, soft_wrap=True)
    else:
        table = Table("epsilon", "", f"at delta {delta:g}", box=None, pad_edge=False, header_style="bold")
        table.add_row("claimed at most", f"{claim.epsilon:.4g}", f"by '{claim.by}'")
        table.add_row("found at least", f"{found.epsilon_lower_bound:.4g}", f"by '{found.bound_by.distinguisher}'")
        if found.gaussian_epsilon is not None:
            table.add_row("if it is Gaussian", f"{found.gaussian_epsilon:.4g}", "an assumption")
        out.print(Padding(table, (0, 0, 1, 0)))
        out.print(Text(f"{found.verdict.value}: {found.reason}", style="red" if violated else "green"))
    raise typer.Exit(1 if violated else 0)


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
        "public": [event.model_dump(mode="json") for event in spent.public],
        "budget": None if budget is None else budget.model_dump(mode="json"),
        "kept": None if budget is None else kept,
    }
