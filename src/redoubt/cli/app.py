"""The command line: one Typer app, and the one place where errors become exit codes."""

import os
import sys

import typer
from rich.console import Console

from redoubt import __version__
from redoubt.records import Fault, RedoubtError


class _Terminal(Console):
    """A console whose reader may go away: the command still ends with its own exit code."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


out = _Terminal(highlight=False)
err = _Terminal(stderr=True, highlight=False)

_INTERRUPTED = 130  # what Typer makes of Ctrl-C

app = typer.Typer(
    name="redoubt",
    help="State what your model must withstand; measure it with adaptive adversaries, harden it, keep the evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"redoubt {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=_version, is_eager=True),
) -> None:
    pass


def run() -> int:
    """Run the command line on `sys.argv` and return its exit code.

    0 proved or withstood, 1 violated, 2 undecided, 3 the policy, an argument or an input is wrong, 4 a fault of
    Redoubt's own.
    """
    try:
        code = app(standalone_mode=False)
    except RedoubtError as error:
        err.print(f"error: {error}", markup=False, soft_wrap=True)
        return error.exit_code
    except typer.Abort:
        err.print("aborted")
        return 3
    except typer.TyperException as error:  # a wrong argument
        err.print(f"error: {error.format_message()}\n  remedy: see redoubt --help", markup=False, soft_wrap=True)
        return 3
    except Exception as error:  # the wall: whatever else comes up is ours
        err.print_exception()
        err.print(f"error: {Fault(f'{type(error).__name__}: {error}', remedy='please report this')}", markup=False)
        return Fault.exit_code
    if code == _INTERRUPTED:
        err.print("interrupted; run the same command again to go on where it stopped")
    return code if isinstance(code, int) else 0


def main() -> None:
    """Entry point of the `redoubt` command."""
    sys.exit(run())
