"""`redoubt prove`: whether a network has a property, as the verification competition asks it."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.app import app, err, out
from redoubt.records import PolicyError

if TYPE_CHECKING:
    from torch import Tensor


@app.command()
def prove(
    network: Annotated[Path, typer.Argument(help="An ONNX file: one input, one output.", show_default=False)],
    property_file: Annotated[
        Path,
        typer.Argument(metavar="PROPERTY", help="A VNN-LIB file: what would break the property.", show_default=False),
    ],
    timeout: Annotated[float, typer.Option(help="Seconds until the answer is 'timeout'.", min=0.0)] = 60.0,
) -> None:
    """Search the inputs that a PROPERTY describes for one that breaks it, or show that there is none.

    Prints 'unsat' if no input breaks it; 'sat' and an input that does, with the outputs that onnxruntime gives to it;
    'unknown' if neither could be shown; 'timeout'. 'unsat' holds for the network in real arithmetic, not for what
    float32 makes of outputs that lie within rounding of a limit.

    Exit codes: 0 unsat; 1 sat; 2 unknown or timeout; 3 a file or an argument is wrong; 4 a fault of Redoubt's own.

    Example: redoubt prove controller.onnx never_turns_back.vnnlib --timeout 60
    """
    # Torch takes seconds to import: only the commands that compute wait for it.
    begun = time.monotonic()
    from redoubt.bounds.complete.prove import Effort, prove
    from redoubt.bounds.network.onnx_network import load_network
    from redoubt.bounds.vnnlib.read import read_vnnlib

    wanted = read_vnnlib(property_file)
    loaded = load_network(network)
    size, outputs = loaded.graph.size, loaded.graph.outputs
    if (wanted.inputs, wanted.outputs) != (size, outputs):
        raise PolicyError(
            f"{property_file.name} is about {wanted.inputs} inputs and {wanted.outputs} outputs, "
            f"but {network.name} has {size} and {outputs}",
            remedy="give the property that was written for this network",
        )
    proof = prove(loaded.graph, wanted.cases(), Effort(stop=lambda: time.monotonic() - begun > timeout), loaded.run)
    err.print(f"{proof.parts} sub-problems, {time.monotonic() - begun:.1f} seconds")
    if proof.answer == "proved":
        out.print("unsat")
        return
    if proof.x is not None:
        y = loaded.run(proof.x[None])[0]
        if wanted.met(proof.x, y):
            out.print(f"sat\n{_witness(proof.x, y)}", markup=False, soft_wrap=True)
            raise typer.Exit(1)
    out.print("timeout" if proof.why == "stopped" else "unknown")
    raise typer.Exit(2)


def _witness(x: "Tensor", y: "Tensor") -> str:
    """A counterexample in the competition's format."""
    pairs = [f"(X_{at} {value!r})" for at, value in enumerate(x.tolist())]
    pairs += [f"(Y_{at} {value!r})" for at, value in enumerate(y.tolist())]
    return "({})".format("\n ".join(pairs))
