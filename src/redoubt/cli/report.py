"""`redoubt report`: write the reports of an evidence folder again."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from redoubt.cli.app import app, out


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="An evidence folder, as `redoubt assess` leaves it.")],
    policy: Annotated[
        Path | None,
        typer.Option(help="The policy file that the reports point into.", show_default="FOLDER/policy.yaml"),
    ] = None,
) -> None:
    """Write the reports of an evidence FOLDER again: HTML, JUnit, SARIF and model-index.

    Nothing is assessed: the reports say what the evidence in the folder says.

    Example: redoubt report evidence/ --policy digits.yaml
    """
    # These take seconds to import: commands that need neither do not wait for them.
    from redoubt.policy import read_policy
    from redoubt.records import PolicyError, digest
    from redoubt.report import verdict_table, write_reports
    from redoubt.report.read import POLICY, read_evidence

    evidence = read_evidence(folder)
    file = read_policy(policy or folder / POLICY)
    if digest(file.policy) != evidence.digests.policy:
        raise PolicyError(
            f"{folder} holds evidence on another policy, or on another version of this one",
            file.place(),
            remedy="give the policy file as it was, or assess again: redoubt assess " + shlex.quote(str(file.path)),
        )
    places = {requirement.id: file.place("requirements", at) for at, requirement in enumerate(file.policy.requirements)}
    command = shlex.join(["redoubt", "assess", str(file.path), "--output", str(folder)])
    written = write_reports(folder, command, places)
    out.print(verdict_table(evidence))
    for kind, path in written.items():
        out.print(f"{kind:<12} {path}", markup=False, soft_wrap=True)
