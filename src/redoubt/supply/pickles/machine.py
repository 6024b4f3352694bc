"""Follows a pickle step by step as the unpickler would, but imports nothing and calls nothing.

A pickle is a program for a machine with a stack.  A list of its opcodes tells too little: names can be put together on
the stack, hidden in the memo, or reached through calls.  So the stack is kept, with a stand-in for everything that
would be imported or called, and each import, call and state is looked up in the allow-list at the step where it would
happen. The first step that is not allowed ends the reading: what a program does after a foreign call cannot be known.

Source: CPython 3.13, Lib/pickle.py (`_Unpickler`) and Lib/pickletools.py.  Protocols 0 to 5.  Not read, and so refused:
extension codes, INST and OBJ of protocol 0 and 1, out-of-band buffers.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from redoubt.supply.findings import Kind
from redoubt.supply.flaw import Damaged, Flaw, shown, words
from redoubt.supply.pickles import names
from redoubt.supply.pickles.values import Made, Map, Name, Row, Stored, Value, described

MOST_STEPS = 20_000_000
MOST_LONG = 4096  # bytes of an integer
_REMEDY = (
    "do not load it; ask for safetensors (torch), skops (scikit-learn) or npz, which hold no code, or convert it in a "
    "container without network and secrets"
)


class Stop(Exception):
    """A step that is not allowed."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw)
        self.flaw = flaw


@dataclass(frozen=True)
class Followed:
    """What a pickle came to.

    Attributes:
        value: what it would build.
        end: where the byte after it stands.
        protocol: the highest that it states.
    """

    value: Value
    end: int
    protocol: int


class _Mark:
    """Stands on the stack where MARK was."""


def follow(raw: bytes, start: int = 0, after_build: Callable[[bytes, int, Made], int] | None = None) -> Followed:
    """Follow one pickle to its STOP.

    Args:
        raw: the bytes that hold it.
        start: where it begins.
        after_build: for formats that put bytes of their own into the stream after an object: given the bytes, the place
            after a BUILD and what was built, it returns the place where the pickle goes on.

    Raises:
        Stop: it imports or calls what is not allowed.
        Damaged: it is no pickle, or beyond the bounds.
    """
    return _Machine(raw, start, after_build).run()


class _Machine:
    def __init__(self, raw: bytes, start: int, after_build: Callable[[bytes, int, Made], int] | None) -> None:
        self._raw, self._at, self._after_build = raw, start, after_build
        self._stack: list[Value | _Mark] = []
        self._memo: dict[int, Value] = {}
        self._protocol = 0
        self._op = start

    def run(self) -> Followed:
        raw, steps = self._raw, _STEPS
        for _ in range(MOST_STEPS):
            self._op = self._at
            if self._op >= len(raw):
                raise Damaged(self._place(), "the pickle ends without its STOP")
            code = raw[self._at]
            self._at += 1
            if code == 0x2E:  # STOP
                return Followed(self._pop(), self._at, self._protocol)
            step = steps.get(code)
            if step is None:
                self._refuse_opcode(code)
            else:
                step(self)
        raise Damaged(self._place(), f"the pickle has more than {MOST_STEPS} steps", Kind.BOMB)

    # ── the stack ────────────────────────────────────────────────────────────────────────────────────────────────

    def _place(self) -> str:
        return f"byte {self._op}"

    def _pop(self) -> Value:
        if not self._stack or isinstance(self._stack[-1], _Mark):
            raise Damaged(self._place(), "the pickle takes from an empty stack")
        return self._stack.pop()  # type: ignore[return-value]  # no mark, as was just seen

    def _top(self) -> Value:
        value = self._pop()
        self._stack.append(value)
        return value

    def push(self, value: Value) -> None:
        self._stack.append(value)

    def _to_mark(self) -> list[Value]:
        items: list[Value] = []
        while self._stack:
            top = self._stack.pop()
            if isinstance(top, _Mark):
                items.reverse()
                return items
            items.append(top)
        raise Damaged(self._place(), "the pickle takes to a mark that is not there")

    def mark(self) -> None:
        self._stack.append(_Mark())

    def pop(self) -> None:
        if not self._stack:
            raise Damaged(self._place(), "the pickle takes from an empty stack")
        self._stack.pop()

    def pop_mark(self) -> None:
        self._to_mark()

    def dup(self) -> None:
        self.push(self._top())

    # ── bytes of the stream ──────────────────────────────────────────────────────────────────────────────────────

    def take(self, count: int) -> bytes:
        if count > len(self._raw) - self._at:
            raise Damaged(self._place(), f"the pickle speaks of {count} bytes that are not there", Kind.BOMB)
        self._at += count
        return self._raw[self._at - count : self._at]

    def number(self, form: str) -> int:
        result: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return result

    def line(self) -> bytes:
        end = self._raw.find(b"\n", self._at, self._at + 2**16)
        if end < 0:
            raise Damaged(self._place(), "a line of the pickle has no end")
        text = self._raw[self._at : end]
        self._at = end + 1
        return text

    def text(self, form: str) -> None:
        try:
            self.push(self.take(self.number(form)).decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            raise Damaged(self._place(), "a text of the pickle is no UTF-8") from None

    def latin(self, form: str) -> None:
        count = self.number(form)
        if count < 0:
            raise Damaged(self._place(), "a text of the pickle has a negative length")
        self.push(self.take(count).decode("latin-1"))

    def data(self, form: str) -> None:
        self.push(self.take(self.number(form)))

    def long(self, form: str) -> None:
        count = self.number(form)
        if not 0 <= count <= MOST_LONG:
            raise Damaged(self._place(), f"an integer of the pickle has {count} bytes", Kind.BOMB)
        self.push(int.from_bytes(self.take(count), "little", signed=True))

    def decimal(self) -> None:
        text = self.line()
        if text in (b"00", b"01"):
            self.push(text == b"01")
            return
        try:
            self.push(int(text.removesuffix(b"L")[:MOST_LONG]))
        except ValueError:
            raise Damaged(self._place(), "an integer of the pickle is no number") from None

    def real(self) -> None:
        try:
            self.push(float(self.line()))
        except ValueError:
            raise Damaged(self._place(), "a float of the pickle is no number") from None

    def quoted(self) -> None:
        text = self.line().strip()
        if len(text) < 2 or text[:1] not in b"'\"" or text[:1] != text[-1:]:
            raise Damaged(self._place(), "a text of the pickle has no quotes")
        self.push(text[1:-1].decode("unicode_escape", "replace"))

    def raw_text(self) -> None:
        self.push(self.line().decode("raw-unicode-escape", "replace"))

    # ── containers and memo ──────────────────────────────────────────────────────────────────────────────────────

    def row(self, kind: str, items: list[Value]) -> None:
        self.push(Row(kind, items))

    def tuple_of(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self.row("tuple", items[::-1])

    def pairs(self, items: list[Value]) -> list[tuple[Value, Value]]:
        if len(items) % 2:
            raise Damaged(self._place(), "the pickle puts a key without a value into a dictionary")
        return list(zip(items[::2], items[1::2], strict=True))

    def append(self, items: list[Value]) -> None:
        target = self._top()
        if isinstance(target, Row) and target.kind in ("list", "set"):
            target.items.extend(items)
        elif isinstance(target, Made) and target.key in _LISTS:
            target.filled.extend(items)
        else:
            self._refuse_fill(target)

    def set_items(self, items: list[Value]) -> None:
        pairs, target = self.pairs(items), self._top()
        if isinstance(target, Map):
            target.pairs.extend(pairs)
        elif isinstance(target, Made) and target.key in _DICTS:
            target.filled.extend(items)
        else:
            self._refuse_fill(target)

    def put(self, index: int) -> None:
        if index > len(self._raw):  # the unpickler makes room for all indices below
            raise Damaged(self._place(), f"the pickle keeps a value under the number {index}", Kind.BOMB)
        self._memo[index] = self._top()

    def get(self, index: int) -> None:
        if index not in self._memo:
            raise Damaged(self._place(), f"the pickle asks for value {index}, which it has not kept")
        self.push(self._memo[index])

    def indexed(self, verb: Callable[[int], None]) -> None:
        try:
            index = int(self.line())
        except ValueError:
            raise Damaged(self._place(), "an index of the pickle is no number") from None
        if index < 0:
            raise Damaged(self._place(), "an index of the pickle is negative")
        verb(index)

    def protocol(self) -> None:
        self._protocol = max(self._protocol, self.number("<B"))
        if self._protocol > 5:
            raise Damaged(self._place(), f"the pickle is of protocol {self._protocol}", Kind.UNKNOWN_FORMAT)

    def frame(self) -> None:
        size = self.number("<Q")
        if size > len(self._raw) - self._at:
            raise Damaged(self._place(), "a frame of the pickle is longer than the file", Kind.BOMB)

    # ── names, calls, states ─────────────────────────────────────────────────────────────────────────────────────

    def name(self) -> None:
        module, name = self.line(), self.line()
        self._named(module.decode("utf-8", "backslashreplace"), name.decode("utf-8", "backslashreplace"))

    def stack_name(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise Damaged(self._place(), "the pickle imports by something that is no text")
        self._named(module, name)

    def _named(self, module: str, name: str) -> None:
        key = (module, name)
        if key not in names.VALUES and key not in names.CALLS:
            raise Stop(self._foreign(Name(module, name)))
        self.push(Name(module, name))

    def _foreign(self, name: Name) -> Flaw:
        """An import that is not allowed; the call that follows it at once is followed to say with what."""
        told = self._call_ahead(name)
        danger = danger_of(name)
        what = f"imports {name}" + (f" and calls {told}" if told else "")
        if danger:
            return Flaw(Kind.RUNS_CODE, self._place(), f"{what}: {danger}", _REMEDY)
        return Flaw(Kind.UNKNOWN_NAME, self._place(), f"{what}, which is not on the allow-list", _REMEDY)

    def _call_ahead(self, name: Name) -> str | None:
        """The first call that follows, in words, if it can be followed for a few hundred steps without an import."""
        self.push(name)
        try:
            for _ in range(300):
                if self._at >= len(self._raw):
                    return None
                code = self._raw[self._at]
                if code in _ENDS_LOOK:
                    return self._first_call(code, name)
                self._at += 1
                step = _STEPS.get(code)
                if step is None:
                    return None
                step(self)
        except (Damaged, Stop):
            return None
        return None

    def _first_call(self, code: int, name: Name) -> str | None:
        if code not in (0x52, 0x81):  # REDUCE, NEWOBJ
            return None
        args, function = self._pop(), self._pop()
        if function is not name or not isinstance(args, Row):
            return None
        return shown(f"{name}({', '.join(described(arg) for arg in args.items[:4])})")

    def reduce(self) -> None:
        args, function = self._pop(), self._pop()
        if not isinstance(args, Row) or args.kind != "tuple":
            raise Damaged(self._place(), "the pickle calls with arguments that are no tuple")
        if not isinstance(function, Name):
            raise Stop(
                Flaw(
                    Kind.RUNS_CODE, self._place(), f"calls {described(function)}, which is no name of the list", _REMEDY
                )
            )
        fits = names.CALLS.get(function.key)
        if fits is None or not fits(args.items):
            said = ", ".join(described(arg) for arg in args.items[:4])
            raise Stop(
                Flaw(
                    Kind.UNKNOWN_NAME,
                    self._place(),
                    f"calls {function}({shown(said)}), which may not be called so",
                    _REMEDY,
                )
            )
        self.push(Made(function.key, tuple(args.items)))

    def new(self, keywords: bool = False) -> None:
        if keywords:
            self._pop()
        args, kind = self._pop(), self._pop()
        if (
            not isinstance(kind, Name)
            or kind.key not in names.NEW
            or not isinstance(args, Row)
            or args.items
            or keywords
        ):
            raise Stop(
                Flaw(
                    Kind.UNKNOWN_NAME,
                    self._place(),
                    f"makes an instance of {described(kind)}, which may not be",
                    _REMEDY,
                )
            )
        self.push(Made(kind.key, ()))

    def build(self) -> None:
        state, target = self._pop(), self._top()
        if not isinstance(target, Made) or target.key not in names.BUILDS:
            raise Stop(
                Flaw(
                    Kind.UNKNOWN_NAME, self._place(), f"gives a state to {described(target)}, which may not be", _REMEDY
                )
            )
        target.state = state
        if self._after_build is not None:
            self._at = self._after_build(self._raw, self._at, target)

    def persistent(self) -> None:
        self.push(Stored(self._pop()))

    def _refuse_fill(self, target: Value) -> None:
        raise Stop(
            Flaw(
                Kind.UNKNOWN_NAME,
                self._place(),
                f"fills {described(target)} by its own methods, which may not be",
                _REMEDY,
            )
        )

    def _refuse_opcode(self, code: int) -> None:
        what = _REFUSED.get(code)
        if what is None:
            raise Damaged(self._place(), f"{code:#04x} is no opcode of a pickle")
        raise Stop(Flaw(Kind.RUNS_CODE, self._place(), what, _REMEDY))


_LISTS = frozenset({("collections", "deque"), ("builtins", "list"), ("__builtin__", "list")})
_DICTS = frozenset({("collections", "OrderedDict"), ("collections", "defaultdict"), ("collections", "Counter")})
_ENDS_LOOK = frozenset({0x52, 0x81, 0x92, 0x62, 0x2E, 0x63, 0x93})  # calls, states, STOP, further names
_REFUSED = {
    0x69: "uses INST, an import and a call in one, as no current pickle does",
    0x6F: "uses OBJ, a call as no current pickle makes it",
    0x82: "uses an extension code, which stands for an import",
    0x83: "uses an extension code, which stands for an import",
    0x84: "uses an extension code, which stands for an import",
    0x50: "uses a persistent id in text, as no current format does",
    0x97: "takes buffers that are not in the file",
    0x98: "takes buffers that are not in the file",
}
_STEPS: dict[int, Callable[[_Machine], None]] = {
    0x28: _Machine.mark,
    0x30: _Machine.pop,
    0x31: _Machine.pop_mark,
    0x32: _Machine.dup,
    0x46: _Machine.real,
    0x49: _Machine.decimal,
    0x4C: _Machine.decimal,
    0x4A: lambda m: m.push(m.number("<i")),
    0x4B: lambda m: m.push(m.number("<B")),
    0x4D: lambda m: m.push(m.number("<H")),
    0x4E: lambda m: m.push(None),
    0x51: _Machine.persistent,
    0x52: _Machine.reduce,
    0x53: _Machine.quoted,
    0x54: lambda m: m.latin("<i"),
    0x55: lambda m: m.latin("<B"),
    0x56: _Machine.raw_text,
    0x58: lambda m: m.text("<I"),
    0x61: lambda m: m.append([m._pop()]),
    0x62: _Machine.build,
    0x63: _Machine.name,
    0x64: lambda m: m.push(Map(m.pairs(m._to_mark()))),
    0x65: lambda m: m.append(m._to_mark()),
    0x67: lambda m: m.indexed(m.get),
    0x68: lambda m: m.get(m.number("<B")),
    0x6A: lambda m: m.get(m.number("<I")),
    0x6C: lambda m: m.row("list", m._to_mark()),
    0x70: lambda m: m.indexed(m.put),
    0x71: lambda m: m.put(m.number("<B")),
    0x72: lambda m: m.put(m.number("<I")),
    0x73: lambda m: m.set_items([m._pop(), m._pop()][::-1]),
    0x74: lambda m: m.row("tuple", m._to_mark()),
    0x75: lambda m: m.set_items(m._to_mark()),
    0x5D: lambda m: m.row("list", []),
    0x7D: lambda m: m.push(Map()),
    0x29: lambda m: m.row("tuple", []),
    0x47: lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    0x42: lambda m: m.data("<I"),
    0x43: lambda m: m.data("<B"),
    0x80: _Machine.protocol,
    0x81: _Machine.new,
    0x85: lambda m: m.tuple_of(1),
    0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    0x8A: lambda m: m.long("<B"),
    0x8B: lambda m: m.long("<i"),
    0x8C: lambda m: m.text("<B"),
    0x8D: lambda m: m.text("<Q"),
    0x8E: lambda m: m.data("<Q"),
    0x8F: lambda m: m.row("set", []),
    0x90: lambda m: m.append(m._to_mark()),
    0x91: lambda m: m.row("frozenset", m._to_mark()),
    0x92: lambda m: m.new(keywords=True),
    0x93: _Machine.stack_name,
    0x94: lambda m: m.put(len(m._memo)),
    0x95: _Machine.frame,
    0x96: lambda m: m.data("<Q"),
}

_DANGERS = {
    "os": "it runs a command, or touches files and processes",
    "posix": "it runs a command, or touches files and processes",
    "nt": "it runs a command, or touches files and processes",
    "subprocess": "it runs a command",
    "pty": "it runs a command",
    "commands": "it runs a command",
    "sys": "it changes the interpreter",
    "socket": "it opens a connection",
    "requests": "it opens a connection",
    "urllib": "it opens a connection",
    "http": "it opens a connection",
    "webbrowser": "it opens a browser",
    "shutil": "it copies or deletes files",
    "pickle": "it reads another pickle",
    "_pickle": "it reads another pickle",
    "cloudpickle": "it builds functions from code",
    "dill": "it builds functions from code",
    "marshal": "it builds code",
    "types": "it builds code",
    "code": "it runs code",
    "runpy": "it runs code",
    "pdb": "it runs code",
    "timeit": "it runs code",
    "cProfile": "it runs code",
    "profile": "it runs code",
    "importlib": "it imports a module of the author's choice",
    "imp": "it imports a module of the author's choice",
    "pkgutil": "it imports a module of the author's choice",
    "pip": "it installs packages",
    "ctypes": "it calls machine code",
    "operator": "it reaches methods that the list does not name",
    "functools": "it calls a function later",
    "asyncio": "it runs a command, or code",
    "multiprocessing": "it starts a process",
    "threading": "it runs code in the background",
}
_BUILTIN_DANGERS = frozenset(
    words("eval exec compile open __import__ getattr setattr delattr apply execfile input map")
)


def danger_of(name: Name) -> str | None:
    """What a name that is not allowed is known for; None if it is not known."""
    if name.module in ("builtins", "__builtin__", "__builtins__"):
        return "it runs code, or reaches what runs code" if name.name.split(".")[0] in _BUILTIN_DANGERS else None
    if name.module.split(".")[0] == "torch" and name.name in ("load", "_load_from_bytes", "load_from_bytes"):
        return "it reads another pickle"
    return _DANGERS.get(name.module.split(".")[0])
