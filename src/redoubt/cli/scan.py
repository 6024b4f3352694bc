"""`redoubt scan`: whether a model's files may be loaded."""

import json
from pathlib import Path
from typing import Annotated

import typer

from redoubt.cli.app import app, err, out
from redoubt.records import PolicyError
from redoubt.storage import write_atomically
from redoubt.supply import Judgement, scan

_FORMS = ("table", "json", "sarif")


@app.command("scan")
def scan_command(
    path: Annotated[Path, typer.Argument(help="A file, or a folder and all that is in it.", show_default=False)],
    form: Annotated[str, typer.Option("--format", help="table, json or sarif.")] = "table",
    as_json: Annotated[bool, typer.Option("--json", help="As --format json.")] = False,
    bom: Annotated[
        Path | None, typer.Option(help="Write a bill of materials (CycloneDX 1.6) here.", show_default="none")
    ] = None,
) -> None:
    """Look through the files of a model, and say of each what it is and what speaks against it.

    An allow-list decides: a file is allowed if its format is known and nothing in it could run, lead elsewhere or
    deceive. Nothing is executed, imported or unpacked to disk.

    Exit codes: 0 everything is allowed; 1 something speaks against a file; 2 a file could not be judged, its format
    being unknown or a library missing; 3 an argument is wrong or the path cannot be read; 4 a fault of Redoubt's own.

    Example: redoubt scan models/
    """
    form = "json" if as_json else form
    if form not in _FORMS:
        raise PolicyError(f"there is no format '{form}'", remedy=f"write one of {', '.join(_FORMS)}")
    judged = list(scan(path))
    if bom is not None:
        from redoubt.supply.bom import bill_of_materials

        write_atomically(bom, bill_of_materials(path.absolute().name, judged))
    if form == "json":
        told = {"path": str(path), "files": [one.model_dump(mode="json") | {"allowed": one.allowed} for one in judged]}
        out.print(json.dumps(told, ensure_ascii=False, indent=1), markup=False, soft_wrap=True)
    elif form == "sarif":
        from redoubt.supply.sarif import render

        out.print(render(path, judged).decode(), markup=False, soft_wrap=True, end="")
    else:
        _print(judged)
    raise typer.Exit(exit_code(judged))


def exit_code(judged: list[Judgement]) -> int:
    """1 if something speaks against a file, else 2 if one could not be judged, else 0."""
    against = [one for one in judged if not one.allowed]
    return 0 if not against else 2 if all(one.undecided for one in against) else 1


def _print(judged: list[Judgement]) -> None:
    for one in judged:
        word = "allowed" if one.allowed else "unknown" if one.undecided else "REFUSED"
        out.print(f"{word:8} {_plain(one.file)}  ({one.format}, {one.size:,} bytes)", markup=False, soft_wrap=True)
        for finding in one.findings:
            place = f"{finding.place}: " if finding.place else ""
            out.print(f"         {finding.kind.value}: {place}{finding.what}", markup=False, soft_wrap=True)
            out.print(f"           remedy: {finding.remedy}", markup=False, soft_wrap=True)
    allowed = sum(one.allowed for one in judged)
    err.print(f"{allowed} of {len(judged)} files allowed; nothing was executed", markup=False)


def _plain(text: str) -> str:
    from redoubt.supply.flaw import shown

    return shown(text, 500)
