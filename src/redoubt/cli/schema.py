"""`redoubt schema`: the policy language as JSON Schema, for editors."""

from pathlib import Path
from typing import Annotated

import typer

from redoubt.cli.app import app, out
from redoubt.policy import schema_text
from redoubt.storage import write_atomically


@app.command()
def schema(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file.", show_default=False)
    ] = None,
) -> None:
    """Print the JSON Schema of the policy language, for editors that complete and check YAML."""
    text = schema_text()
    if output is None:
        out.print(text, markup=False, soft_wrap=True, end="")
        return
    write_atomically(output, text.encode())
    out.print(f"wrote {output}", markup=False, soft_wrap=True)
