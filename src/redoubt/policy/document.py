"""YAML 1.2 text to plain values, and the place of each of them.

The tree is built from the parser's events, so that what could blow up (anchors, aliases, tags, depth, size) is
refused before anything is built from it.  Only what JSON can say comes out: no dates, no sets, no binary.
"""

import pathlib
import re
import unicodedata
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from redoubt.policy.problems import shown
from redoubt.records import Place, PolicyError
from redoubt.records.canonical import Json

MAX_BYTES = 2**20
MAX_DEPTH = 32
MAX_VALUES = 100_000
_MAX_INTEGER = 2**53
_SAID = 200

Key: TypeAlias = str | int
Path: TypeAlias = tuple[Key, ...]

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,400}")
_OCT_HEX = re.compile(r"0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,400}|[0-9]{1,400}(\.[0-9]{0,400})?)([eE][-+]?[0-9]{1,9})?")
_INF_NAN = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True)
class Document:
    """Plain values, and where they stand.

    Attributes:
        file: as messages name it.
        value: None, bool, int, float, str, list or dict with text keys.
        marks: where each key and each list element begins, by its path: line and column from 1, and the offset in the
            text in characters; `()` is the document.
        spans: for each scalar that is not empty, where in the text it begins and ends, in characters.
        flows: paths of the mappings that are written in braces.
    """

    file: str
    value: Json
    marks: Mapping[Path, tuple[int, int, int]]
    spans: Mapping[Path, tuple[int, int]]
    flows: Set[Path]

    def place(self, *keys: Key) -> Place:
        """Where the key or element at that path stands; its nearest known parent when there is none."""
        known = next((keys[:n] for n in range(len(keys), 0, -1) if keys[:n] in self.marks), ())
        return Place(self.file, *self.marks.get(known, (1, 1, 0))[:2])


def file_bytes(path: pathlib.Path, what: str, remedy: str) -> bytes:
    """The bytes of a document's file; of one that is too large, one byte more than `read_document` takes.

    Raises:
        PolicyError: it cannot be read; `what` it is and the remedy stand in the message.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        message = f"cannot read the {what}: {error.strerror or error}"
        raise PolicyError(message, Place(str(path)), remedy=remedy) from error


def read_document(raw: bytes, file: str) -> Document:
    """Parse one YAML document.

    Raises:
        PolicyError: more than 1 MiB; not UTF-8; not YAML; empty; a duplicate key; an anchor, alias or tag; a second
            document; nested deeper than 32; more than 100,000 values; a control character; an integer beyond 2**53.
    """
    if len(raw) > MAX_BYTES:
        raise PolicyError("the file is larger than 1 MiB", Place(file), remedy="a policy is a short text")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PolicyError(
            f"byte 0x{raw[error.start]:02x} is not UTF-8", Place(file, line), remedy="save the file as UTF-8"
        ) from error
    builder = _Builder(file)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.take(event)
    except PolicyError:
        raise
    except YAMLError as error:
        raise _not_yaml(error, text, file) from error
    except Exception as error:  # the wall: the parser answers some malformed escapes with errors of any kind
        raise PolicyError(
            f"not YAML: {str(error)[:_SAID]}", builder.here, remedy="mend what stands there, or after it"
        ) from error
    if not builder.started or builder.root is None:
        raise PolicyError("the policy is empty", Place(file, 1), remedy="write one with: redoubt init MODEL")
    return Document(file, builder.root, builder.marks, builder.spans, builder.flows)


def _not_yaml(error: YAMLError, text: str, file: str) -> PolicyError:
    if isinstance(error, ReaderError):
        before = text[: error.position]
        place = Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        return PolicyError("a character that YAML does not allow", place, remedy="remove the control character")
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return PolicyError("not YAML", Place(file), remedy="check the punctuation")
    mark = error.problem_mark
    said = " ".join(str(part) for part in (error.context, error.problem) if part)
    remedy = "indent with spaces, not tabs" if "\\t" in said else "check indentation, quotes and brackets there"
    return PolicyError(f"not YAML: {said[:_SAID]}", Place(file, mark.line + 1, mark.column + 1), remedy=remedy)


@dataclass
class _Open:
    """A list or mapping whose end has not come yet; `key` waits for its value."""

    path: Path
    items: list[Json] | dict[str, Json]
    key: str | None = None


@dataclass
class _Builder:
    file: str
    here: Place = field(init=False)
    root: Json = None
    started: bool = False
    offset: int = 0
    marks: dict[Path, tuple[int, int, int]] = field(default_factory=dict)
    spans: dict[Path, tuple[int, int]] = field(default_factory=dict)
    flows: set[Path] = field(default_factory=set)
    stack: list[_Open] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.here = Place(self.file, 1)

    def refuse(self, what: str, remedy: str) -> NoReturn:
        raise PolicyError(what, self.here, remedy=remedy)

    def take(self, event: Event) -> None:
        self.here = Place(self.file, event.start_mark.line + 1, event.start_mark.column + 1)
        self.offset = event.start_mark.index
        if isinstance(event, DocumentStartEvent):
            if self.started:
                self.refuse("a second YAML document begins here", "keep one policy in one file")
            if event.version not in (None, (1, 2)):
                self.refuse("this is not YAML 1.2", "remove the %YAML line")
            self.started = True
        elif isinstance(event, AliasEvent):
            self.refuse(f"{shown(f'*{event.anchor}')} is an alias", "write the value out")
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            self.stack.pop()
        elif isinstance(event, ScalarEvent | MappingStartEvent | SequenceStartEvent):
            self._node(event)

    def _node(self, event: ScalarEvent | MappingStartEvent | SequenceStartEvent) -> None:
        if event.anchor is not None:
            self.refuse(
                f"{shown(f'&{event.anchor}')} is an anchor", "remove it, and write values out where they are used"
            )
        if event.ctag is not None:
            self.refuse("a YAML tag, a word that begins with '!'", "remove the tag")
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.items, dict) and top.key is None:
            self._key(top, event)
            return
        value: Json | list[Json] | dict[str, Json]
        if isinstance(event, ScalarEvent):
            text = self._checked(event.value)
            value = self._resolve(text) if event.implicit[0] else text
        else:
            value = {} if isinstance(event, MappingStartEvent) else []
        path = self._place_in(top, value)
        if isinstance(event, ScalarEvent) and event.value:
            self.spans[path] = (event.start_mark.index, event.end_mark.index)
        if isinstance(event, MappingStartEvent) and event.flow_style:
            self.flows.add(path)
        if isinstance(value, dict | list):
            if len(self.stack) >= MAX_DEPTH:
                self.refuse(f"nested deeper than {MAX_DEPTH}", "a policy is flatter than that")
            self.stack.append(_Open(path, value))

    def _key(self, top: _Open, event: ScalarEvent | MappingStartEvent | SequenceStartEvent) -> None:
        if not isinstance(event, ScalarEvent):
            self.refuse("a key that is a list or a mapping", "keys are words")
        top.key = self._checked(event.value)
        path = (*top.path, top.key)
        if path in self.marks:
            self.refuse(
                f"duplicate key {shown(top.key)}, first given in line {self.marks[path][0]}", "keep one of them"
            )
        self._mark(path)

    def _place_in(self, top: _Open | None, value: Json) -> Path:
        if top is None:
            self.root = value
            self._mark(())
            return ()
        if isinstance(top.items, list):
            path: Path = (*top.path, len(top.items))
            top.items.append(value)
            self._mark(path)
            return path
        key = top.key or ""
        top.items[key], top.key = value, None
        return (*top.path, key)

    def _mark(self, path: Path) -> None:
        if len(self.marks) >= MAX_VALUES:
            self.refuse(f"more than {MAX_VALUES} values", "a policy is a short text")
        self.marks[path] = (self.here.line, self.here.column, self.offset)

    def _checked(self, text: str) -> str:
        """The text, if it holds no control character; a pair of surrogates, as JSON escapes them, becomes one."""
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        for char in text:
            if unicodedata.category(char) in ("Cc", "Cs") and char not in "\t\n":
                self.refuse(f"control character U+{ord(char):04X}", "remove it")
        return text

    def _resolve(self, text: str) -> Json:
        """A plain scalar's value by the core schema of YAML 1.2 (section 10.3): `yes`, `on` and dates stay text."""
        if _NULL.fullmatch(text):
            return None
        if _BOOL.fullmatch(text):
            return text.lower() == "true"
        if _INT.fullmatch(text):
            return self._integer(int(text))
        if _OCT_HEX.fullmatch(text):
            return self._integer(int(text, 0))
        if _FLOAT.fullmatch(text):
            return float(text)
        special = _INF_NAN.fullmatch(text)
        if special:
            return float("nan") if special[3] else float(f"{special[1]}inf")
        return text

    def _integer(self, value: int) -> int:
        if abs(value) > _MAX_INTEGER:
            self.refuse("an integer beyond 2**53", "quote it if it is text")
        return value
