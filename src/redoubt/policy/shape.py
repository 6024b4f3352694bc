"""Following a validation error's location through the records, to the path that stands in the file."""

import types
import typing
from dataclasses import dataclass

from pydantic import Tag
from pydantic.fields import FieldInfo

from redoubt.policy.document import Key
from redoubt.records import Policy
from redoubt.records.base import Record


@dataclass(frozen=True)
class Spot:
    """Where in the policy an error is.

    Attributes:
        path: keys and indices as they stand in the file; names of union members are left out.
        owner: the record that the last key belongs to; None for elements of lists and entries of mappings.
        others: where `owner` is one of several records that could stand there, the others.
        is_key: the entry's key itself is wrong, not its value.
    """

    path: tuple[Key, ...]
    owner: type[Record] | None
    others: tuple[type[Record], ...] = ()
    is_key: bool = False

    @property
    def field(self) -> FieldInfo | None:
        """The field that the last key names, if it is one of its owner's."""
        return self.owner.model_fields.get(str(self.path[-1])) if self.owner else None


def follow(loc: tuple[Key, ...], kind: str, root: type[Record] = Policy) -> Spot:
    """Read pydantic's location of an error of that kind against the types of `root`.

    >>> follow(("requirements", 0, "evasion", "within", "norm", "radios"), "extra_forbidden").path
    ('requirements', 0, 'within', 'radios')
    """
    is_key = loc[-1:] == ("[key]",) and kind != "extra_forbidden"  # or else somebody wrote a key of that name
    path: list[Key] = []
    here: object = root
    owner: type[Record] | None = None
    others: tuple[type[Record], ...] = ()
    passed_over: tuple[type[Record], ...] = ()
    for step in loc[:-1] if is_key else loc:
        tagged = _tagged(here)
        if step in tagged:
            here = tagged[step]
            passed_over = tuple(kind for kind in tagged.values() if kind is not here)
            continue
        path.append(step)
        owner, others = (here, passed_over) if _is_record(here) else (None, ())
        passed_over = ()
        here = _inside(here, step)
    return Spot(tuple(path), owner, others, is_key)


def _is_record(kind: object) -> typing.TypeGuard[type[Record]]:
    return isinstance(kind, type) and issubclass(kind, Record)


def _inside(kind: object, step: Key) -> object:
    """The type of what stands at `step` inside a value of type `kind`; None if unknown."""
    if _is_record(kind):
        field = kind.model_fields.get(str(step))
        return _bare(field.annotation) if field else None
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin is dict:
        return _bare(arguments[1])
    if origin is tuple and isinstance(step, int):
        return _bare(arguments[0] if arguments[-1] is Ellipsis else arguments[min(step, len(arguments) - 1)])
    return None


def _bare(kind: object) -> object:
    """A type without annotations and without `| None`."""
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(kind) if member is not types.NoneType]
        return _bare(members[0]) if len(members) == 1 else kind
    return kind


def _tagged(kind: object) -> dict[Key, type[Record]]:
    """The members of a tagged union, by tag; empty for any other type."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return {}
    found: dict[Key, type[Record]] = {}
    for member in typing.get_args(kind):
        bare = _bare(member)
        for note in typing.get_args(member)[1:]:
            if isinstance(note, Tag) and _is_record(bare):
                found[note.tag] = bare
    return found
