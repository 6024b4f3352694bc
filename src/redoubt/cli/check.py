"""`redoubt check`: whether a policy is sound, and what it means."""

from pathlib import Path
from typing import Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from redoubt.cli.app import app, out
from redoubt.policy import explain, read_policy


@app.command()
def check(policy: Annotated[Path, typer.Argument(help="The policy file.", show_default=False)]) -> None:
    """Check a policy, and say in plain sentences what it means.  Loads no model and no data."""
    read = read_policy(policy)
    out.print(Text(f"{policy} is a sound policy.", style="bold"))
    for paragraph in explain(read.policy):
        out.print(Padding(Text(paragraph), (1, 0, 0, 0)))
