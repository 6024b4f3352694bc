"""The pages of decisions: the latest, and one opened."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from redoubt.records import LedgerError, LogEntry, RedoubtError
from redoubt.service.log import parse_entry
from redoubt.service.stores.base import Version
from redoubt.service.ui.entrance.door import Asked
from redoubt.service.ui.look import HEADERS
from redoubt.service.ui.pages.desk import Desk
from redoubt.service.ui.proofs.proving import Shown, show_proof
from redoubt.service.ui.proofs.reading import Opened, find, open_log
from redoubt.service.ui.views.listing import CHOICES, Filter, index_of, list_entries
from redoubt.service.ui.views.nearest import Near, Nearest
from redoubt.service.ui.views.picture import Drawn, draw, kept_input
from redoubt.service.ui.views.policies import guard_in, version_at
from redoubt.service.ui.views.signals import Replayed, replay

_REFRESH = ("5", "10", "60")
_DECIDE = 7  # the step that weighs signals against bounds


@dataclass(frozen=True)
class Explained:
    """What can be said of a decision beside its entry.

    Attributes:
        version: of the policy that decided; None if the store has it no more.
        replayed: its rules, applied once more; None where the entry keeps no signals, or no rule was reached.
        drawn: the input; None where it cannot be shown, and `unseen` says why.
        near: the nearest training examples; where there are none, `lonely` says why.
    """

    version: Version | None = None
    replayed: Replayed | None = None
    drawn: Drawn | None = None
    unseen: str = ""
    near: list[Near] = field(default_factory=list)
    lonely: str = ""


class DecisionPages:
    """Handlers; see `redoubt.service.ui.entrance.door.Handler`."""

    def __init__(self, desk: Desk, policy: Path) -> None:
        self._desk, self._nearest = desk, Nearest(policy)

    def latest(self, asked: Asked) -> Response:
        """The latest decisions."""
        refresh = asked.query.get("refresh", "")
        return self._desk.page(
            "decisions",
            asked,
            "decisions",
            choices=CHOICES,
            tiers=sorted(self._desk.policy.tiers),
            refresh=refresh if refresh in _REFRESH else "",
            **self._listed(asked),
        )

    def recent(self, asked: Asked) -> Response:
        """The part of that page that changes."""
        return self._desk.page("recent", asked, "decisions", **self._listed(asked))

    def _listed(self, asked: Asked) -> dict[str, object]:
        wanted = Filter.of(asked.query)
        before = asked.query.get("before")
        opened = open_log(self._desk.guard.log)
        listing = list_entries(opened.reader, wanted, index_of(before) if before else None)
        return {
            "listing": listing,
            "filter": wanted,
            "size": opened.reader.size,
            "trouble": opened.trouble,
            "class_name": self._desk.class_name,
            "now": self._desk.clock(),
        }

    def one(self, asked: Asked) -> Response:
        """One entry: what was asked, what was measured against which bounds, and the log's proof."""
        index = index_of(asked.path["index"])
        opened = open_log(self._desk.guard.log)
        found = find(opened.reader, index)
        proof, unproved = self._proof(opened, index)
        sound = proof is not None and not proof.wrong
        entry = _parsed(proof) if proof is not None and sound else found.entry
        explained = self._explain(entry, sound) if entry is not None and entry.kind == "decision" else Explained()
        return self._desk.page(
            "decision",
            asked,
            "decisions",
            found=found,
            entry=entry,
            explained=explained,
            size=opened.reader.size,
            proof=proof,
            unproved=unproved,
            log=self._desk.policy.record.log,
            class_name=self._desk.class_name,
        )

    def _proof(self, opened: Opened, index: int) -> tuple[Shown | None, str]:
        """The proof; or None, and why there is none to lay out."""
        try:
            return show_proof(opened, index), ""
        except LedgerError as error:
            return None, error.what

    def _explain(self, entry: LogEntry, sound: bool) -> Explained:
        versions = self._desk.guard.store.versions()
        version = version_at(versions, entry.policy, entry.at / 1000)
        policy = guard_in(version.text) if version else None
        replayed = replay(entry, policy) if policy and entry.signals and entry.step == _DECIDE else None
        face = self._desk.guard.chain.book.face
        x = kept_input(entry, face) if sound else None
        if x is None:
            return Explained(version, replayed, unseen=_why_unseen(entry, sound))
        near = self._near(entry, x, versions)
        if isinstance(near, str):
            return Explained(version, replayed, draw(x, face), lonely=near)
        return Explained(version, replayed, draw(x, face), near=near)

    def _near(self, entry: LogEntry, x: NDArray[np.float32], versions: list[Version]) -> list[Near] | str:
        """The nearest training examples, or why there are none."""
        book = self._desk.guard.chain.book
        if entry.model != book.model:
            return "Another model decided then, and is not loaded any more."
        latest = version_at(versions, book.digest, self._desk.clock())
        if latest is None:
            return "The policy in force is not in the store."
        try:
            return self._nearest.find(x, book, latest.text)
        except RedoubtError as error:
            return f"They cannot be shown: {error.what}."

    def proof(self, asked: Asked) -> Response:
        """The proof of one entry as a file.

        Raises:
            LedgerError: it cannot be proved.
        """
        index = index_of(asked.path["index"])
        opened = open_log(self._desk.guard.log)
        if opened.trouble:
            raise LedgerError(opened.trouble)
        named = {"content-disposition": f'attachment; filename="{index}.tlog-proof"'}
        return Response(bytes(opened.reader.proof(index)), headers=HEADERS | named, media_type="text/plain")


def _parsed(proof: Shown) -> LogEntry | None:
    """The entry that is proved: also where the log's tiles are damaged in a place that its proof does not need."""
    try:
        return parse_entry(proof.text.encode())
    except LedgerError:
        return None


def _why_unseen(entry: LogEntry, sound: bool) -> str:
    if not sound:
        return "The input is not shown, since this entry is not proved."
    if entry.row is None:
        return "There is no input: the request was ended before it was read."
    if entry.input is None:
        return "The input is not kept. The policy says what is: guard.record.keep; add input there to keep it."
    return "The input that is kept is none that the model in force takes, or has another digest than the entry says."
