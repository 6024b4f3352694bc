"""The machine that a pickle is a program for: it follows the program, but imports nothing and calls nothing.

A pickle is a program for a machine with a stack.  A list of its opcodes tells too little: names can be put together on
the stack, hidden in the memo, or reached through calls.  So the stack is kept, with a stand-in for everything that
would be imported or called, and each import, call and state is looked up in the allow-list at the step where it would
happen. The first step that is not allowed ends the reading: what a program does after a foreign call cannot be known.

Source: CPython 3.13, Lib/pickle.py (`_Unpickler`) and Lib/pickletools.py.  Protocols 0 to 5.  Not read, and so refused:
extension codes, INST and OBJ of protocol 0 and 1, out-of-band buffers.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from redoubt.supply.findings import Kind
from redoubt.supply.flaw import Damaged, Flaw, shown
from redoubt.supply.pickles import names
from redoubt.supply.pickles.dangers import danger_of
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


class Machine:
    """One pickle on its way.

    Args:
        raw: the bytes that hold it.
        start: where it begins.
        steps: what each opcode does; `refused`: what is said of those that are not followed.
        after_build: see `opcodes.follow`.
    """

    def __init__(
        self,
        raw: bytes,
        start: int,
        steps: "Mapping[int, Callable[[Machine], None]]",
        refused: Mapping[int, str],
        after_build: Callable[[bytes, int, Made], int] | None,
    ) -> None:
        self._raw, self._at, self._after_build = raw, start, after_build
        self._steps, self._refused = steps, refused
        self._stack: list[Value | _Mark] = []
        self.memo: dict[int, Value] = {}
        self._protocol = 0
        self._op = start

    def run(self) -> Followed:
        """Follow it to its STOP; see `opcodes.follow`."""
        raw, steps = self._raw, self._steps
        for _ in range(MOST_STEPS):
            self._op = self._at
            if self._op >= len(raw):
                raise Damaged(self._place(), "the pickle ends without its STOP")
            code = raw[self._at]
            self._at += 1
            if code == 0x2E:  # STOP
                return Followed(self.take_top(), self._at, self._protocol)
            step = steps.get(code)
            if step is None:
                self._refuse_opcode(code)
            else:
                step(self)
        raise Damaged(self._place(), f"the pickle has more than {MOST_STEPS} steps", Kind.BOMB)

    # ── the stack ────────────────────────────────────────────────────────────────────────────────────────────────

    def _place(self) -> str:
        return f"byte {self._op}"

    def take_top(self) -> Value:
        if not self._stack or isinstance(self._stack[-1], _Mark):
            raise Damaged(self._place(), "the pickle takes from an empty stack")
        return self._stack.pop()  # type: ignore[return-value]  # no mark, as was just seen

    def _top(self) -> Value:
        value = self.take_top()
        self._stack.append(value)
        return value

    def push(self, value: Value) -> None:
        self._stack.append(value)

    def to_mark(self) -> list[Value]:
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
        self.to_mark()

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
        items = [self.take_top() for _ in range(count)]
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
        self.memo[index] = self._top()

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise Damaged(self._place(), f"the pickle asks for value {index}, which it has not kept")
        self.push(self.memo[index])

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
        name, module = self.take_top(), self.take_top()
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
                step = self._steps.get(code)
                if step is None:
                    return None
                step(self)
        except (Damaged, Stop):
            return None
        return None

    def _first_call(self, code: int, name: Name) -> str | None:
        if code not in (0x52, 0x81):  # REDUCE, NEWOBJ
            return None
        args, function = self.take_top(), self.take_top()
        if function is not name or not isinstance(args, Row):
            return None
        return shown(f"{name}({', '.join(described(arg) for arg in args.items[:4])})")

    def reduce(self) -> None:
        args, function = self.take_top(), self.take_top()
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
            self.take_top()
        args, kind = self.take_top(), self.take_top()
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
        state, target = self.take_top(), self._top()
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
        self.push(Stored(self.take_top()))

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
        what = self._refused.get(code)
        if what is None:
            raise Damaged(self._place(), f"{code:#04x} is no opcode of a pickle")
        raise Stop(Flaw(Kind.RUNS_CODE, self._place(), what, _REMEDY))


_LISTS = frozenset({("collections", "deque"), ("builtins", "list"), ("__builtin__", "list")})
_DICTS = frozenset({("collections", "OrderedDict"), ("collections", "defaultdict"), ("collections", "Counter")})
_ENDS_LOOK = frozenset({0x52, 0x81, 0x92, 0x62, 0x2E, 0x63, 0x93})  # calls, states, STOP, further names
