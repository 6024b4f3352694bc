"""`redoubt assess`: play the requirements of a policy against its model."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.app import app, out
from redoubt.cli.progress import Bars
from redoubt.cli.through import read_through
from redoubt.policy import PolicyFile, read_policy
from redoubt.records import EvasionEvidence, Evidence, Verdict

if TYPE_CHECKING:
    from redoubt.assess.through import Through

EXIT_CODES = {Verdict.PROVED: 0, Verdict.WITHSTOOD: 0, Verdict.VIOLATED: 1, Verdict.UNDECIDED: 2}


def default_folder(policy: Path) -> Path:
    """Where the evidence of a policy goes unless told otherwise: beside it."""
    return policy.with_suffix(".evidence")


def exit_code(evidence: Evidence) -> int:
    """1 if anything is violated, else 2 if anything is undecided, else 0."""
    codes = {EXIT_CODES[requirement.verdict] for requirement in evidence.requirements}
    return min(codes - {0}, default=0)


def assess_and_report(
    file: PolicyFile,
    folder: Path,
    *,
    on: str,
    workers: int,
    device: str,
    command: str,
    through: "Through | None" = None,
) -> Evidence:
    """Assess with bars, write the reports, print the verdicts."""
    # Torch takes seconds to import: only the commands that compute wait for it.
    from redoubt.assess import assess as run_assessment
    from redoubt.report import verdict_table, write_reports
    from redoubt.report.words import one_line, work_factor

    with Bars() as bars:
        evidence = run_assessment(file, folder, on=on, workers=workers, device=device, progress=bars, through=through)
    places = {requirement.id: file.place("requirements", at) for at, requirement in enumerate(file.policy.requirements)}
    written = write_reports(folder, command, places)
    out.print(verdict_table(evidence))
    for requirement in evidence.requirements:
        out.print(
            f"{requirement.id} {requirement.verdict}: {one_line(requirement.reason)}", markup=False, soft_wrap=True
        )
    for requirement in evidence.requirements:
        if isinstance(requirement, EvasionEvidence) and requirement.guarded is not None:
            out.print(f"{requirement.id}: {work_factor(requirement.guarded)}", markup=False, soft_wrap=True)
    out.print()
    for kind, path in written.items():
        out.print(f"{kind:<12} {path}", markup=False, soft_wrap=True)
    return evidence


@app.command()
def assess(
    policy: Annotated[Path, typer.Argument(help="The policy file.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for evidence and reports.", show_default="POLICY.evidence"),
    ] = None,
    on: Annotated[str, typer.Option(help="Where tasks run: 'local' or 'ray'.")] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Worker processes.", show_default="one per core")
    ] = None,
    device: Annotated[str, typer.Option(help="Torch device; others than 'cpu' use one worker.")] = "cpu",
    through: Annotated[
        str | None,
        typer.Option(
            help="URL of the same model behind a guard, http(s)://host/v2/models/NAME: it is attacked there as well.",
            show_default="not through a guard",
        ),
    ] = None,
    accounts: Annotated[
        Path | None,
        typer.Option(
            help="File with the API keys to ask the guard with, one per line; keep it chmod 600. Two or more; best "
            "one, and budget.accounts for each example attacked.",
            show_default="none",
        ),
    ] = None,
    wait: Annotated[str, typer.Option(help="Longest wait for locked accounts, per example: '10 min'.")] = "0 s",
    attacked: Annotated[int, typer.Option(min=1, help="Examples to attack through the guard.")] = 100,
) -> None:
    """Play every requirement of a POLICY against its model: verdicts, reports, evidence.

    Killed half-way, it goes on where it stopped when you run it again: finished tasks are kept in the output folder.

    With --through, every requirement's strategies that only ask are also played through the guard, each naively and
    by an attacker who knows the rules, and the report compares the work.

    Exit codes: 0 everything proved or withstood; 1 something violated; 2 something undecided; 3 the policy, an argument
    or an input is wrong; 4 a fault of Redoubt's own.

    Example: redoubt assess digits.yaml --output evidence/
    """
    file = read_policy(policy)
    folder = output or default_folder(policy)
    guarded = read_through(through, accounts, wait, attacked) if through is not None else None
    words = ["redoubt", "assess", str(policy), "--output", str(folder)]
    words += ["--device", device] if device != "cpu" else []
    if through is not None:
        words += ["--through", through, "--accounts", str(accounts), "--wait", wait, "--attacked", str(attacked)]
    command = shlex.join(words)
    count = workers or (1 if device != "cpu" else os.cpu_count() or 1)
    evidence = assess_and_report(file, folder, on=on, workers=count, device=device, command=command, through=guarded)
    raise typer.Exit(exit_code(evidence))
