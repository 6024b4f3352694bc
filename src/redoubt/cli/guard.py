"""`redoubt guard`: serve a model behind its policy, and change the policy while it serves."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from typer.core import TyperGroup

from redoubt.cli.app import app, err, out
from redoubt.policy import parse_policy, read_policy
from redoubt.records import PolicyError


class _ServeByDefault(TyperGroup):
    """`redoubt guard POLICY` is `redoubt guard serve POLICY`."""

    def parse_args(self, ctx: object, args: list[str]) -> list[str]:
        words = [word for word in args if not word.startswith("-")]
        if words and words[0] not in self.commands and not {"--help", "-h"} & set(args[:1]):
            args = ["serve", *args]
        return super().parse_args(ctx, args)  # type: ignore[arg-type]  # typer's own copy of click has no public name


guard = typer.Typer(
    cls=_ServeByDefault,
    no_args_is_help=True,
    help="Serve a model behind its policy; change the policy while it serves.\n\n"
    "Example: redoubt guard digits.yaml --port 8080\n\n"
    "Any client of the Open Inference Protocol V2 can ask, with a key of `redoubt keys add` as bearer token. Nothing "
    "reaches the model but by the nine steps: identify, budget, sanitise, recall, infer, support, decide, minimise, "
    "record.",
)
app.add_typer(guard, name="guard")

_Policy = Annotated[Path, typer.Argument(help="The policy file.", show_default=False)]


@guard.command()
def serve(
    policy: _Policy,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8080,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain (PEM): serve HTTPS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(help="Only callers with a certificate of this authority (PEM) may connect.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Threads that compute.")] = 1,
    patience: Annotated[
        float,
        typer.Option(
            min=0, max=1000, help="Milliseconds that a batch waits, under load, for those who have just been answered."
        ),
    ] = 4.0,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve the model of a POLICY, or stand before the server that it names, until SIGTERM or Ctrl-C.

    The file becomes the policy in force, unless it was rolled back; when it changes, the change is in force within
    seconds, and no request is lost. Several guards may share one PostgreSQL (`identify.keys: postgresql://…`), each
    with a log of its own.
    """
    # Read when NumPy and torch are loaded, which is below: what holds for all of their threads cannot be set later.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))

    from redoubt.service.serve import serve_guard
    from redoubt.service.web import Tls

    if (tls_cert is None) != (tls_key is None) or (tls_client_ca and tls_cert is None):
        raise PolicyError("--tls-cert and --tls-key belong together", remedy="give both, or neither")
    tls = Tls(tls_cert, tls_key, tls_client_ca) if tls_cert and tls_key else None
    serve_guard(policy, host, port, tls, threads=threads, patience=patience / 1000, log_level=log_level)


@guard.command()
def reload(policy: _Policy) -> None:
    """Make POLICY the version in force for every running guard that shares its store.

    The policy is checked first; what is wrong is refused here and changes nothing.
    """
    from redoubt.service.stores import open_store
    from redoubt.service.versions import guard_of, publish

    file = read_policy(policy)
    store = open_store(guard_of(file).identify.keys, file.base)
    try:
        version = publish(store, file, time.time(), "reload")
    finally:
        store.close()
    out.print(f"version {version.number} ({version.digest}) is in force; running guards follow within seconds")


@guard.command()
def rollback(
    policy: _Policy,
    to: Annotated[int | None, typer.Option(min=1, help="Number of the version.", show_default="the one before")] = None,
) -> None:
    """Put an earlier version of POLICY in force again.  The file is not changed; `reload` puts it in force again."""
    from redoubt.service.stores import open_store
    from redoubt.service.versions import guard_of, publish

    file = read_policy(policy)
    store = open_store(guard_of(file).identify.keys, file.base)
    try:
        versions = store.versions()
        wanted = to if to is not None else len(versions) - 1
        if not 1 <= wanted <= len(versions):
            raise PolicyError(
                f"there is no version {wanted}; there are {len(versions)}", remedy="see: redoubt guard versions POLICY"
            )
        earlier = parse_policy(versions[wanted - 1].text.encode(), policy)
        version = publish(store, earlier, time.time(), f"rollback to {wanted}")
    finally:
        store.close()
    out.print(f"version {version.number} is in force, with the text of version {wanted}")
    err.print(f"{policy} still has the newer text, in force again when it changes or after: redoubt guard reload")


@guard.command()
def versions(policy: _Policy) -> None:
    """List the versions of POLICY that were in force, and how each came to be."""
    from redoubt.service.stores import open_store
    from redoubt.service.versions import guard_of

    file = read_policy(policy)
    store = open_store(guard_of(file).identify.keys, file.base)
    try:
        found = store.versions()
    finally:
        store.close()
    table = Table("version", "since (UTC)", "by", "digest", "")
    for version in found:
        since = datetime.fromtimestamp(version.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(str(version.number), since, version.by, version.digest[:23], "in force" if version.active else "")
    out.print(table)
