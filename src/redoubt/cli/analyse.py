"""`redoubt audit analyse`: what many entries of a log say together."""

import json
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from redoubt.cli.app import err, out
from redoubt.cli.audit import audit
from redoubt.cli.logs import AsJson, Key, LogPath, Witnesses, key_of, plain, reader_of, witnesses_of

if TYPE_CHECKING:
    from redoubt.service.analyse import Analysed, Analyser, Reference, Report, Suspicion

_FOUND, _UNABLE = 1, 2
_AGAIN = 100_000  # entries between two signs of life


class _Name(StrEnum):
    EXTRACTION = "extraction"
    MEMBERSHIP = "membership"
    RECONNAISSANCE = "reconnaissance"
    DRIFT = "drift"


@audit.command()
def analyse(
    log: LogPath,
    policy: Annotated[
        Path | None,
        typer.Option(
            help="The policy that the guard enforces, where its data and its store can be reached. Training points and "
            "honest queries are taken from its data.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        list[_Name] | None,
        typer.Option("--only", help="Only this analyser. May be repeated.", show_default="all that can run"),
    ] = None,
    level: Annotated[
        float, typer.Option(min=1e-6, max=0.2, help="Probability of a false finding that each analyser may have.")
    ] = 0.01,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Verify the whole log first.", show_default=True)
    ] = True,
    as_json: AsJson = False,
    key: Key = None,
    witness: Witnesses = None,
) -> None:
    """Analyse a LOG: extraction, membership probing, evasion reconnaissance, drift.

    A finding names entries, and proves that they stand in the log. It is a reason to look, and no verdict. An analyser
    that the log does not hold enough for says so.

    Exit codes: 0 nothing was found; 1 something was, or the log was tampered with; 2 nothing was found, but an analyser
    could not look; 3 an argument is wrong or a disk refuses.

    Examples: redoubt audit analyse audit/ --policy digits.yaml --key digits.pub

    redoubt audit analyse audit/ --only drift --json
    """
    # These take seconds to import: commands that need neither do not wait for them.
    from redoubt.policy import read_policy
    from redoubt.service.analyse import analyse as analyse_log
    from redoubt.service.analyse import read_reference

    reader = reader_of(log, key_of(log, key), witnesses_of(witness))
    reference = read_reference(read_policy(policy)) if policy else None
    if verify:
        reader.verify(_alive("verified"))
    analysed = analyse_log(reader, _analysers(only, reference, level), _alive("read"))
    if as_json:
        print(json.dumps(_json(analysed, reference, verified=verify)))
    else:
        _show(analysed, reference, verified=verify)
    if analysed.suspicious:
        raise typer.Exit(_FOUND)
    if analysed.unable:
        raise typer.Exit(_UNABLE)


def _analysers(only: Sequence[_Name] | None, reference: "Reference | None", level: float) -> list["Analyser"]:
    from redoubt.service.analyse import Drift, Extraction, Membership, Reconnaissance

    alike = reference.alike if reference else 0.5
    wanted = only or [name for name in _Name if reference or name is not _Name.MEMBERSHIP]
    every: dict[_Name, Analyser] = {
        _Name.EXTRACTION: Extraction(reference, level),
        _Name.MEMBERSHIP: Membership(reference if _Name.MEMBERSHIP in wanted else None, level),
        _Name.RECONNAISSANCE: Reconnaissance(alike),
        _Name.DRIFT: Drift(level=level),
    }
    return [every[name] for name in _Name if name in wanted]


def _alive(what: str) -> Callable[[int], None]:
    def say(entries: int) -> None:
        if err.is_terminal and entries % _AGAIN < 256:
            err.print(f"{entries} entries {what}")

    return say


# ── showing ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _show(analysed: "Analysed", reference: "Reference | None", *, verified: bool) -> None:
    checked = "verified" if verified else "NOT verified as a whole"
    _print(f"{analysed.entries} entries, {checked}; {analysed.decisions} are decisions on queries.")
    if others := _of_others(analysed, reference):
        _print(
            f"note: {others} decisions were made under another text of the policy; if its data, store or fingerprint "
            "settings differed, they cannot be compared with this one's."
        )
    if analysed.unreadable:
        _print(f"\nlog: {analysed.unreadable.why} {_entries(analysed.unreadable)}")
    for report in analysed.reports:
        _show_report(report)


def _of_others(analysed: "Analysed", reference: "Reference | None") -> int:
    """Decisions that were made under another text of the policy than the one given."""
    return analysed.decisions - analysed.policies.get(reference.policy, 0) if reference else 0


def _show_report(report: "Report") -> None:
    if report.unable:
        _print(f"\n{report.analyser}: could not look: {report.unable}.")
        return
    count = len(report.suspicions) + report.more
    found = f"{count} finding{'s' * (count != 1)}" if count else "nothing found"
    _print(f"\n{report.analyser}: {found} in {report.looked} decisions")
    for suspicion in report.suspicions:
        _print(f"  * {_accounts(suspicion)}{suspicion.why} {_entries(suspicion)}")
    if report.more:
        _print(f"  and {report.more} weaker ones")
    for note in report.notes:
        _print(f"  note: {note}")
    _print(f"  not covered: {report.not_covered}")


def _accounts(suspicion: "Suspicion") -> str:
    return f"{', '.join(suspicion.accounts)}: " if suspicion.accounts else ""


def _entries(suspicion: "Suspicion") -> str:
    shown = ", ".join(map(str, suspicion.entries))
    return f"[entries {shown}]" if len(suspicion.entries) == suspicion.of else f"[{suspicion.of} entries, as {shown}]"


def _print(text: str) -> None:
    out.print(Text("\n".join(plain(line) for line in text.split("\n"))), soft_wrap=True)


def _json(analysed: "Analysed", reference: "Reference | None", *, verified: bool) -> dict[str, object]:
    return {
        "entries": analysed.entries,
        "decisions": analysed.decisions,
        "decisions_under_other_policies": _of_others(analysed, reference),
        "verified": verified,
        "unreadable": _suspicion(analysed.unreadable) if analysed.unreadable else None,
        "analysers": [
            {
                "analyser": report.analyser,
                "looked": report.looked,
                "unable": report.unable or None,
                "notes": report.notes,
                "not_covered": report.not_covered,
                "findings": [_suspicion(suspicion) for suspicion in report.suspicions],
                "more": report.more,
            }
            for report in analysed.reports
        ],
    }


def _suspicion(suspicion: "Suspicion") -> dict[str, object]:
    return {
        "accounts": suspicion.accounts,
        "why": suspicion.why,
        "figures": dict(suspicion.figures),
        "of": suspicion.of,
        "entries": [
            {"index": index, "proof": proof} for index, proof in zip(suspicion.entries, suspicion.proofs, strict=True)
        ],
    }
