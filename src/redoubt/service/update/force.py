"""What is in force, and putting another version in force: in the guard's store first, then in the policy file.

1. `write` the candidate's file under its digest        nothing is in force yet
2. `publish` the new policy text in the store           every guard follows within a second
3. `rewrite` the policy file                            so that who edits it next does not bring the old model back

Killed between 2 and 3, the store is right: a guard that starts then finds that the file holds an earlier version, says
so, and serves the one in the store.  A policy without a guard has step 3 alone.

Rolling back is the same with the earlier text; a guard still has the earlier model in memory (`Assembler`).
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from redoubt.policy import PolicyFile, parse_policy
from redoubt.records import PolicyError, digest
from redoubt.service.update.shelf import Shelf
from redoubt.storage import write_atomically

if TYPE_CHECKING:
    from redoubt.service.stores import Store

BY = "update "
_BACK = "rollback to "


@dataclass(frozen=True)
class Force:
    """What is in force of a policy.

    Attributes:
        file: the policy, as the file has it.
        now: the policy that is in force.
        stored: whether a guard's store says so; else the file alone does.
    """

    file: PolicyFile
    now: PolicyFile
    stored: bool


def has_store(file: PolicyFile) -> bool:
    """Whether the policy has a guard whose store is there."""
    guard = file.policy.guard
    if guard is None:
        return False
    keys = guard.identify.keys
    return "://" in keys or (file.base / keys).is_file()


def in_force(file: PolicyFile) -> Force:
    """What is in force.

    Raises:
        PolicyError: the file has a change that is not in force.
        StorageError: the store cannot be read.
    """
    if not has_store(file):
        return Force(file, file, stored=False)
    with _store(file) as store:
        versions = store.versions()
    if not versions or versions[-1].digest == digest(file.text.encode()):
        return Force(file, file, stored=True)
    latest = versions[-1]
    if all(each.digest != digest(file.text.encode()) for each in versions):
        raise PolicyError(
            "the policy file has changes that are not in force",
            file.place(),
            remedy="put them in force with redoubt guard reload, or take them back",
        )
    return Force(file, parse_policy(latest.text.encode(), file.path), stored=True)


def switch(force: Force, text: str, by: str, now: float) -> None:
    """Put a policy text in force.  Nobody else may be doing so (`Shelf.alone`).

    Raises:
        PolicyError: the text is wrong, or something else was put in force meanwhile.
        StorageError: the store or the file cannot be written.
    """
    after = parse_policy(text.encode(), force.file.path)
    untouched = force.file.path.read_bytes().decode("utf-8-sig") == force.file.text
    if not force.stored and not untouched:
        raise PolicyError(
            "the policy file was changed meanwhile",
            force.file.place(),
            remedy="run it again: nothing was put in force",
        )
    if force.stored:
        from redoubt.service.versions import publish

        with _store(force.file) as store:
            latest = store.latest_version()
            if latest is not None and latest.digest != digest(force.now.text.encode()):
                raise PolicyError(
                    "another version was put in force meanwhile",
                    remedy="run it again: the candidate has to be compared with that one",
                )
            if latest is None:
                publish(store, force.now, now, "file")  # or there would be nothing to go back to
            publish(store, after, now, by)
    if untouched:
        write_atomically(force.file.path, text.encode())


def roll_back(file: PolicyFile, shelf: Shelf, now: float) -> tuple[str, bool]:
    """Put what was in force before the latest update in force again.

    Returns:
        The id of the update that was undone, and whether the policy file was changed too.

    Raises:
        PolicyError: what is in force did not come from an update.
        StorageError: the store or the file cannot be written.
    """
    undo: Callable[[PolicyFile, Shelf, float], tuple[str, str, str]] = _by_store if has_store(file) else _by_file
    identity, before, after = undo(file, shelf, now)
    rewritten = digest(file.text.encode()) == digest(after.encode()) and before != after
    if rewritten:
        write_atomically(file.path, before.encode())
    return identity, rewritten


def _by_store(file: PolicyFile, _shelf: Shelf, now: float) -> tuple[str, str, str]:
    from redoubt.service.versions import publish

    with _store(file) as store:
        versions = store.versions()
        at = len(versions)
        while at and versions[at - 1].by.startswith(_BACK):  # a rollback has the text of the version that it names
            at = int(versions[at - 1].by.removeprefix(_BACK))
        if not at or not versions[at - 1].by.startswith(BY) or at < 2:
            raise PolicyError(
                "what is in force did not come from redoubt update",
                file.place(),
                remedy="put any earlier version in force with redoubt guard rollback POLICY --to N",
            )
        updated, earlier = versions[at - 1], versions[at - 2]
        publish(store, parse_policy(earlier.text.encode(), file.path), now, f"{_BACK}{at - 1}")
    return updated.by.removeprefix(BY), earlier.text, updated.text


def _by_file(file: PolicyFile, shelf: Shelf, _now: float) -> tuple[str, str, str]:
    mine = digest(file.text.encode())
    for evidence, state in reversed(shelf.all()):
        if state.became == "in force" and state.after == mine:
            before = (shelf.of(evidence.id) / "before.yaml").read_text(encoding="utf-8")
            return evidence.id, before, file.text
    raise PolicyError(
        "the policy file is not as redoubt update left it", file.place(), remedy="change its weights by hand"
    )


@contextlib.contextmanager
def _store(file: PolicyFile) -> "Iterator[Store]":
    from redoubt.service.stores import open_store
    from redoubt.service.versions import guard_of

    store = open_store(guard_of(file).identify.keys, file.base)
    try:
        yield store
    finally:
        store.close()


def relative(path: Path, base: Path) -> str:
    """A file as a policy in `base` names it."""
    return path.resolve().relative_to(base.resolve()).as_posix()
