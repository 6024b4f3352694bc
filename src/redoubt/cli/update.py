"""`redoubt update`: try a candidate, put it in force if it moves little, and go back at once."""

import getpass
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from redoubt.cli.app import app, out
from redoubt.policy import read_policy
from redoubt.records import PolicyError

if TYPE_CHECKING:
    from redoubt.records import UpdateEvidence

_REFUSED, _PERSON = 1, 2


@app.command()
def update(
    policy: Annotated[Path, typer.Argument(help="The policy file, with an `update` section.", show_default=False)],
    candidate: Annotated[
        Path | None,
        typer.Option(
            "--candidate",
            "-c",
            help="The model's new file, or a batch of examples to learn (`.npz` with arrays `x` and `y`).",
            show_default=False,
        ),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List all candidates and what became of them.")] = False,
    approve: Annotated[
        str | None, typer.Option(help="Put the candidate of this ID in force, which waits for a person.")
    ] = None,
    reject: Annotated[
        str | None, typer.Option(help="Refuse the candidate of this ID, which waits for a person.")
    ] = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Put in force again what was in force before the latest update.")
    ] = False,
    by: Annotated[str | None, typer.Option(help="Who decides.", show_default="your user name")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Try a CANDIDATE for the model of a POLICY, and put it in force if it moves little.

    It is looked at as `redoubt scan` does, runs in a process without network that may write in one folder only, and is
    compared with the model in force by the bounds of the policy's `update` section. Running guards switch within
    seconds and lose no request. Refused candidates, and those that wait for a person, are kept with the evidence in
    POLICY.updates.

    Exit codes: 0 it is in force, or done as told; 1 refused; 2 a person has to decide; 3 the policy or an argument is
    wrong; 4 a fault of Redoubt's own.

    Example: redoubt update digits.yaml --candidate new.safetensors
    """
    asked = [candidate is not None, list_, approve is not None, reject is not None, rollback]
    if sum(asked) != 1:
        raise PolicyError(
            "say one thing to do",
            remedy="give one of --candidate FILE, --list, --approve ID, --reject ID and --rollback",
        )
    # These take seconds to import: what needs neither does not wait for them.
    if list_:
        _list(policy, as_json)
        return
    if rollback:
        _roll_back(policy)
        return
    from redoubt.service.update import trial

    if candidate is not None:
        evidence, state = trial.try_candidate(policy, candidate, time.time())
        _show(evidence, policy, as_json)
        if state.became != "in force":
            raise typer.Exit(_REFUSED if state.became == "refused" else _PERSON)
        return
    who = by or _me()
    identity = approve or reject or ""
    decide = trial.approve if approve is not None else trial.reject
    state = decide(policy, identity, who, time.time())
    out.print(f"candidate {identity} is {state.became}, by {who}", markup=False, soft_wrap=True)


def _show(evidence: "UpdateEvidence", policy: Path, as_json: bool) -> None:
    if as_json:
        print(evidence.model_dump_json())
        return
    table = Table("measure", "on", "against", "value", "95 % interval", "bound", "")
    for change in evidence.changes:
        label = f" (class {change.label})" if change.label is not None else ""
        table.add_row(
            f"{change.measure}{label}",
            f"{change.trials:,} {change.among.replace('_', '-')}",
            change.against,
            f"{change.value:.2%}",
            f"{change.interval.low:.2%} to {change.interval.high:.2%}",
            "" if change.bound is None else f"{change.bound:.2%}",
            change.stand or "",
        )
    if evidence.changes:
        out.print(table)
    for each in evidence.requirements:
        out.print(f"requirement {each.id}: {each.verdict}", markup=False, soft_wrap=True)
    said = {"accepted": "accepted, and in force", "refused": "refused", "person": "a person has to decide"}
    out.print(f"candidate {evidence.id}: {said[evidence.outcome]}", markup=False, soft_wrap=True)
    for reason in evidence.reasons:
        out.print(f"  {reason}", markup=False, soft_wrap=True)
    out.print(f"kept in {policy.with_suffix('.updates') / evidence.id}", markup=False, soft_wrap=True)


def _list(policy: Path, as_json: bool) -> None:
    from redoubt.service.update.shelf import Shelf

    read_policy(policy)
    found = Shelf(policy).all()
    if as_json:
        said = [
            {"id": e.id, "kind": e.kind, "outcome": e.outcome, "reasons": e.reasons, **s.model_dump()} for e, s in found
        ]
        print(json.dumps(said, ensure_ascii=False))
        return
    table = Table("candidate", "kind", "at (UTC)", "is", "by", "why")
    for evidence, state in found:
        at = datetime.fromtimestamp(state.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(evidence.id, evidence.kind, at, state.became, state.by, evidence.reasons[0])
    out.print(table)


def _roll_back(policy: Path) -> None:
    from redoubt.service.update.force import roll_back
    from redoubt.service.update.shelf import Shelf, State

    shelf, now = Shelf(policy), time.time()
    with shelf.alone():
        identity, rewritten = roll_back(read_policy(policy), shelf, now)
        if (shelf.of(identity) / "state.json").is_file():
            shelf.state(identity, State(became="rolled back", by=_me(), at=now))
    out.print(f"update {identity} is undone; running guards follow within a second", markup=False, soft_wrap=True)
    if not rewritten:
        out.print(f"{policy} was changed by somebody else, and is left as it is", markup=False, soft_wrap=True)


def _me() -> str:
    """Who gives the command; users without a name have a number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
