"""`redoubt harden`: train the model of a policy to withstand one of its requirements."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.app import app, err, out
from redoubt.cli.curves import Curves
from redoubt.cli.group import Group
from redoubt.policy import PolicyFile, read_policy
from redoubt.records import PolicyError, Recipe

if TYPE_CHECKING:
    from redoubt.harden import Hardened


def hardened_policy(policy: Path) -> Path:
    """Where the policy of the hardened model goes: `digits.yaml` to `digits.hardened.yaml`."""
    return policy.with_suffix(f".hardened{policy.suffix}")


@dataclass(frozen=True)
class Sweeps:
    """More trainings for the page: at these multiples of the radius, on these numbers of examples."""

    radii: tuple[float, ...]
    sizes: tuple[int, ...]


def harden_and_write(
    file: PolicyFile,
    folder: Path,
    device: str,
    recipe: Recipe | None = None,
    sweeps: Sweeps | None = None,
    options: Sequence[str] = (),
) -> Path:
    """Harden with curves that grow, and write a policy for the hardened model beside the first one.

    `options` are those of the command, for the page to tell.
    """
    # Torch takes seconds to import: only the commands that compute wait for it.
    from redoubt.harden import harden as run_hardening
    from redoubt.harden import sweep
    from redoubt.report import write_hardening_page
    from redoubt.storage import write_atomically

    with Group(device) as group, Curves(quiet=not group.first) as curves:
        hardened = run_hardening(file, folder, group.device, curves.heard, recipe)
        if not group.first:
            return hardened_policy(file.path)
    if sweeps is not None:
        sweep(file, folder, device, recipe, sweeps.radii, sweeps.sizes, lambda what: err.print(what, markup=False))
    page = write_hardening_page(folder, shlex.join(["redoubt", "harden", str(file.path), *options]))
    target = hardened_policy(file.path)
    weights = os.path.relpath(hardened.weights.resolve(), file.base.resolve())
    write_atomically(target, file.with_weights(weights).encode())
    out.print(f"hardened against {hardened.against}: {hardened.weights}", markup=False, soft_wrap=True)
    _say_price(hardened)
    out.print(f"curves and more: {page}", markup=False, soft_wrap=True)
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
            help="A recipe that comes along, or a YAML file, in the stead of the policy's own keys.",
            show_default="the policy's",
        ),
    ] = None,
    radii: Annotated[
        str, typer.Option(help="For the page, train at these multiples of the radius too: `0,0.5,1`.")
    ] = "",
    sizes: Annotated[str, typer.Option(help="For the page, train on so many of the examples too: `100,1000`.")] = "",
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
    sweeps = Sweeps(_numbers(radii, "radii"), tuple(round(size) for size in _numbers(sizes, "sizes")))
    wanted = sweeps if sweeps.radii or sweeps.sizes else None
    given = (("--output", output), ("--recipe", recipe), ("--radii", radii), ("--sizes", sizes))
    options = [part for name, value in given if value for part in (name, str(value))]
    harden_and_write(file, output or policy.with_suffix(".hardened"), device, chosen, wanted, options)


def _numbers(text: str, option: str) -> tuple[float, ...]:
    """`0,0.5,1` as numbers: at most 20, none negative, none that no training takes."""
    try:
        numbers = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        numbers = (-1.0,)
    most = 4.0 if option == "radii" else 1e9
    least = 0.0 if option == "radii" else 1.0
    if len(numbers) > 20 or any(not least <= number <= most for number in numbers):
        raise PolicyError(
            f"--{option} takes up to 20 numbers from {least:g} to {most:g}, got '{text[:60]}'",
            remedy=f"write --{option} {'0,0.5,1' if option == 'radii' else '100,1000'}",
        )
    return numbers
