"""skops files: a zip archive of arrays, and a schema that names the type of each object before it is built.

What the schema may name is scikit-learn's own classes and plain containers, and how they may be built is held to the
kinds of nodes that only copy data.  Nodes that look something up and call it, bind a method, or compose functions are
refused, although skops itself leaves them to its user's list.

`models/sklearn_file.py` asks skops for its opinion too, before it loads: both must agree.

Source: skops 0.16, skops/io/.
"""

import re
from collections.abc import Iterator
from typing import Any

from redoubt.supply.archives.nested import mappings
from redoubt.supply.archives.zips import Zip
from redoubt.supply.findings import Kind
from redoubt.supply.flaw import Flaw, shown, words
from redoubt.supply.tensors.npy import npy_flaws
from redoubt.supply.tensors.safetensors import json_once

SCHEMA = "schema.json"
_MOST_SCHEMA = 256 * 2**20  # bytes
_MOST_NODES = 5_000_000
_LOADERS = frozenset(
    words(
        "ObjectNode DictNode DefaultDictNode ListNode TupleNode SetNode JsonNode NdArrayNode MaskedArrayNode "
        "RandomStateNode RandomGeneratorNode DTypeNode SparseMatrixNode SliceNode BytesNode BytearrayNode "
        "TypeNode FunctionNode TreeNode LossNode CachedNode ConstructorFromReduceNode ReduceNode "
        "_DictWithDeprecatedKeysNode DatetimeNode QuantileForestNode"
    )
)
_FORBIDDEN = {
    "MethodNode": "binds a method of an object, by which other code can be reached",
    "OperatorFuncNode": "builds a function of Python's operator module, by which any method can be reached",
    "PartialNode": "composes a call",
}
_PLAIN = frozenset(
    {
        *(f"builtins.{name}" for name in words(
        "dict list set frozenset tuple str int float bool bytes bytearray slice complex"
    )),
        *(f"numpy.{name}" for name in words(
        "ndarray dtype generic matrix bool bool_ str_ bytes_ ma.MaskedArray"
    )),
        *(f"numpy.{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
        *(f"numpy.{name}" for name in words(
        "float16 float32 float64 longdouble complex64 complex128 intp int_ object_"
    )),
        "numpy.random.mtrand.RandomState", "numpy.random._generator.Generator", "numpy.ma.MaskedArray",
        "collections.defaultdict", "collections.OrderedDict",
        "datetime.datetime", "datetime.timedelta", "datetime.date",
    }
)  # fmt: skip
_SPARSE = re.compile(r"scipy\.sparse\._?\w+\.\w+_(matrix|array)")
_FUNCTIONS = re.compile(
    r"numpy\.(log|log1p|log2|log10|exp|expm1|exp2|sqrt|cbrt|square|abs|absolute|fabs|negative|sign|reciprocal|sin|cos|tan|"
    r"arcsin|arccos|arctan|sinh|cosh|tanh|arcsinh|arccosh|arctanh|add|subtract|multiply|divide|true_divide|power|maximum|"
    r"minimum|floor|ceil|rint|trunc|clip|hypot|isnan|isfinite|isinf)|scipy\.special\.(_ufuncs\.)?(expit|logit|erf|erfc)"
)
_SKLEARN = re.compile(
    r"sklearn\.(?!externals\.|datasets\.|utils\._testing\.|conftest\.)(?!.*\.tests?\.)[\w.]*\b_*[A-Z]\w*"
)
_REMEDY = "save a model made of scikit-learn's own parts, or offer it as python:<module>:<callable>"


def skops_flaws(archive: Zip) -> Iterator[Flaw]:
    """What speaks against a skops archive.

    Raises:
        Damaged: its schema or an array cannot be read.
    """
    schema = json_once(archive.read(SCHEMA, _MOST_SCHEMA), SCHEMA)
    for member in archive.members:
        if member.name.endswith(".npy"):
            yield from npy_flaws(archive.unpack(member), shown(member.name))
        elif member.name.endswith((".npz", ".bin")):
            archive.unpack(member)
        elif member.name != SCHEMA:
            yield Flaw(Kind.UNKNOWN_FORMAT, shown(member.name), "is nothing that skops writes", _REMEDY)
    for value, here in mappings(schema, SCHEMA, _MOST_NODES, _spot):
        if "__loader__" in value or "__class__" in value:
            yield from _node(value, shown(here))


def _spot(whole: Any, here: str, key: object) -> str:
    """The path to it, without the mappings of skops's own that hold a node's content."""
    if isinstance(whole, list):
        return f"{here}[{key}]"
    return here if key == "content" else f"{here}/{key}"


def _node(node: dict[str, Any], here: str) -> Iterator[Flaw]:
    loader, module, kind = node.get("__loader__"), node.get("__module__"), node.get("__class__")
    if not isinstance(loader, str) or not isinstance(module, str) or not isinstance(kind, str):
        yield Flaw(Kind.DAMAGED, here, "is a node without loader, module and class", _REMEDY)
        return
    name = f"{module}.{kind}"
    if loader in _FORBIDDEN:
        yield Flaw(Kind.RUNS_CODE, here, f"is a {loader} of {shown(name)}: it {_FORBIDDEN[loader]}", _REMEDY)
    elif loader not in _LOADERS:
        yield Flaw(Kind.UNKNOWN_NAME, here, f"is built by '{shown(loader)}', which is not on the allow-list", _REMEDY)
    elif loader == "FunctionNode":
        if not _FUNCTIONS.fullmatch(name):
            yield Flaw(Kind.RUNS_CODE, here, f"names the function {shown(name)}, which the model calls", _REMEDY)
    elif not (name in _PLAIN or _SPARSE.fullmatch(name) or _SKLEARN.fullmatch(name)):
        yield Flaw(Kind.UNKNOWN_NAME, here, f"is a {shown(name)}, which is not on the allow-list", _REMEDY)
