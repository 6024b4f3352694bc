"""`redoubt harden`: train the model of a policy to withstand one of its requirements."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.app import app, err, out
from redoubt.policy import PolicyFile, read_policy

if TYPE_CHECKING:
    from redoubt.harden import Epoch


def hardened_policy(policy: Path) -> Path:
    """Where the policy of the hardened model goes: `digits.yaml` to `digits.hardened.yaml`."""
    return policy.with_suffix(f".hardened{policy.suffix}")


def harden_and_write(file: PolicyFile, folder: Path, device: str) -> Path:
    """Harden with a line per epoch, and write a policy for the hardened model beside the first one."""
    # Torch takes seconds to import: only the commands that compute wait for it.
    from redoubt.harden import harden as run_hardening
    from redoubt.storage import write_atomically

    def heard(epoch: "Epoch", of: int) -> None:
        err.print(
            f"epoch {epoch.number:>3}/{of}  loss {epoch.loss:.3f}  held out: clean {epoch.clean:.1%}, "
            f"under attack {epoch.robust:.1%}"
        )

    hardened = run_hardening(file, folder, device, heard)
    target = hardened_policy(file.path)
    weights = os.path.relpath(hardened.weights.resolve(), file.base.resolve())
    write_atomically(target, file.with_weights(weights).encode())
    out.print(f"hardened against {hardened.against}: {hardened.weights}", markup=False, soft_wrap=True)
    out.print(f"now assess it:  redoubt assess {target}", markup=False, soft_wrap=True)
    return target


@app.command()
def harden(
    policy: Annotated[Path, typer.Argument(help="The policy file, with a `harden` section.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the new weights.", show_default="POLICY.hardened")
    ] = None,
    device: Annotated[str, typer.Option(help="Torch device.")] = "cpu",
) -> None:
    """Train the model of a POLICY to withstand one of its requirements (adversarial training).

    Saves after every epoch and goes on from there when run again. Leaves new weights, and beside the policy a copy of
    it that names them: assess that one to see what was gained, and at what price in clean accuracy.

    Example: redoubt harden digits.yaml && redoubt assess digits.hardened.yaml
    """
    file = read_policy(policy)
    harden_and_write(file, output or policy.with_suffix(".hardened"), device)
