"""`redoubt init`: a first policy for a model file."""

import os
from pathlib import Path, PurePath
from typing import Annotated

import typer

from redoubt.cli.app import app, out
from redoubt.policy import draft, parse_policy
from redoubt.policy.draft import CHANGE
from redoubt.records import PolicyError
from redoubt.storage import write_atomically


@app.command()
def init(
    model: Annotated[
        Path,
        typer.Argument(help="An .onnx, .safetensors or .skops file. Nothing in it is executed.", show_default=False),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The policy to write.")] = Path("policy.yaml"),
    train: Annotated[
        str | None,
        typer.Option(
            help="What the model was trained on, as `data.train`: asks who can be recognised.", metavar="SOURCE"
        ),
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="Examples it was not trained on, as `data.test`.", metavar="SOURCE")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="The privacy ledger of its training: asks for its guarantee.", metavar="FILE")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the policy if it is there already.")] = False,
) -> None:
    """Look at a model file, and write a commented policy for it."""
    if output.exists() and not force:
        raise PolicyError(f"{output} exists already", remedy="give another --output, or --force to replace it")
    from redoubt.models.look import look  # only this command needs torch

    sketch = look(model)
    name = _as_seen_from(model, output.parent)
    text = draft(
        model.stem,
        sketch.source.replace(model.name, name) if sketch.source.endswith(f":{model.name}") else sketch.source,
        weights=name if sketch.weights == model.name else sketch.weights,
        shape=sketch.shape,
        classes=sketch.classes,
        outputs="probabilities" if any("outputs are probabilities" in note for note in sketch.notes) else "logits",
        notes=sketch.notes,
        train=train,
        test=test,
        ledger=_as_seen_from(ledger, output.parent) if ledger is not None else None,
    )
    parse_policy(text.encode(errors="replace"), output)
    write_atomically(output, text.encode(), replace=force)
    out.print(f"wrote {output}", markup=False, soft_wrap=True)
    left = [number for number, line in enumerate(text.splitlines(), start=1) if CHANGE in line]
    out.print(f"complete it where it says {CHANGE}: lines {', '.join(map(str, left))}; then: redoubt check {output}")


def _as_seen_from(model: Path, folder: Path) -> str:
    """The model's path relative to the policy's folder, which is where relative paths in a policy start."""
    if model.is_absolute():
        return model.as_posix()
    return PurePath(os.path.relpath(model, folder)).as_posix()
