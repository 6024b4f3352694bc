"""The wire format of the Open Inference Protocol V2 (REST): requests from tensors, tensors from answers.

Pure: bytes and JSON values in, arrays or an error out.  Nothing here knows of sockets.
"""

import json
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from redoubt.records import EndpointError

FLOATS = frozenset({"FP16", "FP32", "FP64", "BF16"})
INTEGERS = frozenset({f"{sign}{bits}" for sign in ("INT", "UINT") for bits in (8, 16, 32, 64)})


@dataclass(frozen=True)
class Output:
    """One tensor of an answer: name, V2 datatype, and values as float64 or int64 in their shape."""

    name: str
    datatype: str
    values: NDArray[np.float64] | NDArray[np.int64]


def parse_json(raw: bytes, url: str) -> dict[str, object]:
    """A JSON object.

    Raises:
        EndpointError: the bytes are something else.
    """
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise EndpointError(f"{url} answers something that is not JSON", remedy=_REMEDY) from error
    if not isinstance(value, dict):
        raise EndpointError(f"{url} answers a JSON {type(value).__name__}, not an object", remedy=_REMEDY)
    return value


def infer_request(name: str, x: NDArray[np.float32]) -> bytes:
    """The body of an inference request: one FP32 tensor, row-major."""
    tensor = {"name": name, "shape": list(x.shape), "datatype": "FP32", "data": x.reshape(-1).tolist()}
    return json.dumps({"inputs": [tensor]}, allow_nan=False).encode()


def infer_outputs(answer: dict[str, object], rows: int, url: str) -> list[Output]:
    """The numeric output tensors of an answer to `rows` inputs.

    Raises:
        EndpointError: no outputs, none of numbers, or one whose data are not as many finite numbers as its shape says.
    """
    listed = answer.get("outputs")
    if not isinstance(listed, list) or not listed:
        raise EndpointError(f"{url} answers without 'outputs'", remedy=_REMEDY)
    outputs = [_output(entry, url) for entry in listed if _datatype(entry) in FLOATS | INTEGERS]
    if not outputs:
        told = ", ".join(_datatype(entry) or "no datatype" for entry in listed[:5])
        raise EndpointError(f"{url} answers no tensor of numbers ({told})", remedy=_REMEDY)
    for output in outputs:
        if len(output.values) != rows:
            raise EndpointError(
                f"{url} answers {list(output.values.shape)} as '{output.name}' to {rows} inputs", remedy=_REMEDY
            )
    return outputs


def scores_or_labels(outputs: list[Output], classes: int, url: str) -> Output:
    """The output to use: scores if there are any, else labels.

    Scores are floats `[B, K]`, or `[B]` or `[B, 1]` for two classes; labels are integers `[B]` or `[B, 1]`.

    Raises:
        EndpointError: none, or several that could be scores.
    """
    alone = [o for o in outputs if math.prod(o.values.shape[1:]) == 1 and o.values.ndim <= 2]
    scores = [o for o in outputs if o.datatype in FLOATS and o.values.shape[1:] == (classes,)]
    if not scores and classes == 2:
        scores = [o for o in alone if o.datatype in FLOATS]
    labels = [o for o in alone if o.datatype in INTEGERS]
    chosen = scores or labels
    if len(chosen) == 1:
        return chosen[0]
    told = ", ".join(f"'{o.name}' {o.datatype} {list(o.values.shape)}" for o in outputs)
    raise EndpointError(
        f"{url} answers {told}; expected one tensor of scores [{len(outputs[0].values)}, {classes}], or one of labels",
        remedy="make `classes` in the policy the true number, or serve the scores as the only output of floats",
    )


_REMEDY = "see whether the URL names a model of a server that speaks the Open Inference Protocol V2"


def _datatype(entry: object) -> str:
    value = entry.get("datatype") if isinstance(entry, dict) else None
    return value if isinstance(value, str) else ""


def _output(entry: object, url: str) -> Output:
    if not isinstance(entry, dict):
        raise EndpointError(f"{url} answers an output that is not an object", remedy=_REMEDY)
    name, datatype, shape = str(entry.get("name", ""))[:64], _datatype(entry), entry.get("shape")
    if not isinstance(shape, list) or not shape or not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        raise EndpointError(f"{url} answers '{name}' without a sound shape", remedy=_REMEDY)
    try:
        values = np.asarray(entry.get("data"))
    except ValueError as error:
        raise EndpointError(f"{url} answers ragged data as '{name}'", remedy=_REMEDY) from error
    if values.dtype.kind not in ("iuf" if datatype in FLOATS else "iu") or values.size != math.prod(shape):
        found = f"with {values.size} values" if values.size != math.prod(shape) else "with data of another type"
        raise EndpointError(f"{url} answers '{name}' as {datatype} of shape {shape}, but {found}", remedy=_REMEDY)
    values = values.reshape(shape)
    if datatype in INTEGERS:
        return Output(name, datatype, values.astype(np.int64))
    floats = values.astype(np.float64)
    bad = ~np.isfinite(floats).reshape(len(floats), -1).all(axis=1) if floats.size else np.zeros(0, dtype=bool)
    if bad.any():
        raise EndpointError(
            f"{url} answers NaN or infinity in row {int(bad.argmax())} of '{name}'", remedy="mend the served model"
        )
    return Output(name, datatype, floats)
