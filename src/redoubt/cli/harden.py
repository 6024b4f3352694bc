"""`redoubt harden`: train the model of a policy to withstand one of its requirements."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.app import app, out
from redoubt.cli.curves import Curves
from redoubt.cli.group import Group
from redoubt.policy import PolicyFile, read_policy
from redoubt.records import Recipe

if TYPE_CHECKING:
    from redoubt.harden import Hardened


def hardened_policy(policy: Path) -> Path:
    """Where the policy of the hardened model goes: `digits.yaml` to `digits.hardened.yaml`."""
    return policy.with_suffix(f".hardened{policy.suffix}")


def harden_and_write(file: PolicyFile, folder: Path, device: str, recipe: Recipe | None = None) -> Path:
    """Harden with curves that grow, and write a policy for the hardened model beside the first one."""
    # Torch takes seconds to import: only the commands that compute wait for it.
    from redoubt.harden import harden as run_hardening
    from redoubt.storage import write_atomically

    with Group(device) as group, Curves(quiet=not group.first) as curves:
        hardened = run_hardening(file, folder, group.device, curves.heard, recipe)
        if not group.first:
            return hardened_policy(file.path)
    target = hardened_policy(file.path)
    weights = os.path.relpath(hardened.weights.resolve(), file.base.resolve())
    write_atomically(target, file.with_weights(weights).encode())
    out.print(f"hardened against {hardened.against}: {hardened.weights}", markup=False, soft_wrap=True)
    _say_price(hardened)
    out.print(f"now assess it:  redoubt assess {target}", markup=False, soft_wrap=True)
    return target


def _say_price(hardened: "Hardened") -> None:
    price = hardened.price
    out.print(
        f"price: clean accuracy {price.clean_before:.1%} to {price.clean_after:.1%} of {price.examples:,} held out, "
        f"{price.passes:,} passes, {price.seconds:,.0f} s; under the training attack {price.robust_before:.1%} to "
        f"{price.robust_after:.1%}",
        markup=False,
        soft_wrap=True,
    )


@app.command()
def harden(
    policy: Annotated[Path, typer.Argument(help="The policy file, with a `harden` section.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the new weights.", show_default="POLICY.hardened")
    ] = None,
    device: Annotated[str, typer.Option(help="Torch device.")] = "cpu",
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A recipe that comes along (see the tutorial), or a YAML file, in the stead of the policy's.",
            show_default="the policy's",
        ),
    ] = None,
) -> None:
    """Train the model of a POLICY to withstand one of its requirements (adversarial training).

    Saves after every epoch and goes on from there when run again. Leaves new weights with their price as evidence, and
    beside the policy a copy of it that names them: assess that one to see what was gained. Under `torchrun`, several
    processes share the work.

    Example: redoubt harden digits.yaml && redoubt assess digits.hardened.yaml
    """
    file = read_policy(policy)
    chosen = None
    if recipe is not None:
        from redoubt.harden import named_recipe

        chosen = named_recipe(recipe)
    harden_and_write(file, output or policy.with_suffix(".hardened"), device, chosen)
