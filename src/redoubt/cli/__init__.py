"""The only room that prints; one file per command."""

from redoubt.cli import check, init, schema, assess, harden, repair, prove, report  # noqa: I001  in the order that help lists
from redoubt.cli import scan, sign, attest, demo, guard, keys, update, audit, analyse, influence, privacy
from redoubt.cli.app import main

__all__ = [
    "analyse",
    "assess",
    "attest",
    "audit",
    "check",
    "demo",
    "guard",
    "harden",
    "influence",
    "init",
    "keys",
    "main",
    "privacy",
    "prove",
    "repair",
    "report",
    "scan",
    "schema",
    "sign",
    "update",
]
