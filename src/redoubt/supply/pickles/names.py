"""The allow-list of pickles: what a pickle may name, what it may call, and with which arguments.

It is the list by which torch decides with `weights_only=True` (torch/_weights_only_unpickler.py), without the classes
of quantised, nested and wrapped tensors, with what NumPy and joblib need to write arrays, and with plain containers,
dates and numbers of the standard library.  Calling any of these with the arguments that are let through makes a value
and does nothing else.
"""

import re
from collections.abc import Callable, Sequence

from redoubt.supply.flaw import words
from redoubt.supply.pickles.values import Made, Map, Name, Row, Value

_DTYPES = words(
    "float64 double float32 float half float16 bfloat16 int64 long int32 int int16 short int8 uint8 "
    "uint16 uint32 uint64 bool complex32 complex64 complex128 chalf cfloat cdouble float8_e4m3fn "
    "float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu"
)
_STORAGES = words("Double Float Half Long Int Short Char Byte Bool BFloat16 ComplexDouble ComplexFloat")
_TYPES = words("bool bytearray bytes complex dict float frozenset int list object range set slice str tuple")
_CODE = re.compile(r"[<>|=]?[A-Za-z]\d{0,9}")
_ARRAYS = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")

VALUES = frozenset(
    {
        *(("torch", name) for name in _DTYPES),
        *(("torch", f"{name}Storage") for name in _STORAGES),
        ("torch.storage", "UntypedStorage"),
        *((module, name) for module in ("builtins", "__builtin__") for name in _TYPES),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        *((module, name) for module in ("numpy.core.multiarray", "numpy._core.multiarray") for name in ("ndarray",)),
        *(("numpy", name) for name in words("bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64")),
        *(("numpy", name) for name in words("float16 float32 float64 complex64 complex128 str_ bytes_")),
        ("joblib.numpy_pickle", "NumpyArrayWrapper"),
        ("collections", "OrderedDict"),
    }
)
"""What may be named without being called."""


def _contained(args: Sequence[Value]) -> bool:
    """Nothing, or one container that the pickle has built: no number, of which a buffer so large would be made."""
    return not args or (len(args) == 1 and isinstance(args[0], Row))


def _texts(args: Sequence[Value]) -> bool:
    return len(args) in (1, 2) and all(isinstance(arg, str | int | None) for arg in args)


def _latin(args: Sequence[Value]) -> bool:
    """As Python 3 writes bytes for readers of protocol 2."""
    return len(args) == 2 and isinstance(args[0], str) and args[1] in ("latin1", "latin-1")


def _buffer(args: Sequence[Value]) -> bool:
    return not args or (len(args) <= 2 and isinstance(args[0], str | bytes))


def _numbers(args: Sequence[Value]) -> bool:
    return all(isinstance(arg, bool | int | float | str | bytes | None) for arg in args) and len(args) <= 8


def _factory(args: Sequence[Value]) -> bool:
    return not args or (len(args) == 1 and (args[0] is None or (isinstance(args[0], Name) and args[0].key in VALUES)))


def _holds_no_objects(args: Sequence[Value]) -> bool:
    """The arguments of a NumPy scalar: of an object it would be a pointer, or a pickle inside."""
    return len(args) == 2 and dtype_code(args[0]) not in (None, "O") and isinstance(args[1], bytes | Made | str)


def _frombuffer(args: Sequence[Value]) -> bool:
    return len(args) == 4 and dtype_code(args[1]) not in (None, "O")


def _tensor(args: Sequence[Value]) -> bool:
    return 3 <= len(args) <= 9


def _tensor_parts(args: Sequence[Value]) -> bool:
    return len(args) == 2 and isinstance(args[1], Row)


def _empty_array(args: Sequence[Value]) -> bool:
    """As NumPy writes them: an array without elements, which its state then fills."""
    return (
        len(args) == 3
        and isinstance(args[0], Name)
        and args[0].name == "ndarray"
        and isinstance(args[1], Row)
        and args[1].items == [0]
    )


def _one_dtype(args: Sequence[Value]) -> bool:
    """One type by its code: `f8`.  NumPy also reads lists of fields from a text, among which objects could be."""
    return 1 <= len(args) <= 3 and isinstance(args[0], str) and _CODE.fullmatch(args[0]) is not None


CALLS: dict[tuple[str, str], Callable[[Sequence[Value]], bool]] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _tensor,
    ("torch._utils", "_rebuild_parameter_with_state"): _tensor,
    ("torch._utils", "_rebuild_sparse_tensor"): _tensor_parts,
    ("torch.serialization", "_get_layout"): _texts,
    ("torch", "Size"): _contained,
    ("torch", "device"): _texts,
    ("collections", "OrderedDict"): _contained,
    ("collections", "Counter"): lambda args: not args or (len(args) == 1 and isinstance(args[0], Row | Map)),
    ("collections", "deque"): lambda args: not args or (len(args) <= 2 and isinstance(args[0], Row)),
    ("collections", "defaultdict"): _factory,
    **{(module, name): _contained for module in ("builtins", "__builtin__") for name in ("set", "frozenset", "list")},
    **{(module, name): _numbers for module in ("builtins", "__builtin__") for name in ("complex", "range", "slice")},
    **{(module, "bytearray"): _buffer for module in ("builtins", "__builtin__")},
    ("_codecs", "encode"): _latin,
    ("datetime", "datetime"): _numbers,
    ("datetime", "date"): _numbers,
    ("datetime", "timedelta"): _numbers,
    ("decimal", "Decimal"): _texts,
    ("fractions", "Fraction"): _texts,
    ("numpy", "dtype"): _one_dtype,
    **{(module, "_reconstruct"): _empty_array for module in _ARRAYS},
    **{(module, "scalar"): _holds_no_objects for module in _ARRAYS},
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
}
"""What may be called, each with a test of its arguments."""

NEW = frozenset({("joblib.numpy_pickle", "NumpyArrayWrapper"), ("collections", "OrderedDict")})
"""Classes of which an empty instance may be made."""

BUILDS = frozenset(
    {
        ("collections", "OrderedDict"),
        ("joblib.numpy_pickle", "NumpyArrayWrapper"),
        ("numpy", "dtype"),
        *((module, "_reconstruct") for module in _ARRAYS),
    }
)
"""What may be given a state."""


def dtype_code(value: Value) -> str | None:
    """`f8`, `O`, …: the code with which a NumPy dtype was made; None if it is none.

    A dtype gets its fields by a state; without fields the state's third to fifth values are None.
    """
    if not isinstance(value, Made) or value.key != ("numpy", "dtype") or not value.args:
        return None
    code, state = value.args[0], value.state
    if not isinstance(code, str):
        return None
    if isinstance(state, Row) and any(part is not None for part in state.items[2:5]):
        return "O"  # fields may hold objects: judged as if they did
    return "O" if code.startswith(("O", "|O", "object")) else code
