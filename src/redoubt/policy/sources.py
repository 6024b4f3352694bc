"""The forms of `source`: which schemes there are, and what each of them may name."""

import re
from pathlib import PurePath
from typing import Literal
from urllib.parse import urlsplit

from redoubt.policy.problems import did_you_mean, nearest, shown

MODEL_FORMS = {
    "torch": "torch:<module>:<factory>",
    "onnx": "onnx:<file.onnx>",
    "sklearn": "sklearn:<file.skops>",
    "transformers": "transformers:<folder>",
    "python": "python:<module>:<callable>",
    "http": "http://<host>/v2/models/<name>",
    "https": "https://<host>/v2/models/<name>",
}
DATA_FORMS = {
    "idx": "idx:<folder>/<train|test>",
    "npz": "npz:<file.npz>",
    "csv": "csv:<file.csv>",
    "images": "images:<folder>",
    "text": "text:<file.txt>",
    "sklearn": "sklearn:<name>/<train|test>",
}
_PICKLES = frozenset({".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth"})
_NAMED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_SECRET = re.compile(r"//[^/]*@")

_TO_SAFETENSORS = (
    'convert it once, where you trust the file: python -c "import torch; from safetensors.torch import save_file; '
    "save_file(torch.load('{file}', weights_only=True), '{stem}.safetensors')\""
)
_TO_SKOPS = (
    'convert it once, where you trust the file: python -c "import joblib, skops.io; '
    "skops.io.dump(joblib.load('{file}'), '{stem}.skops')\""
)


def scheme_of(source: str) -> str:
    """What stands before the first colon.

    >>> scheme_of("onnx:reader.onnx")
    'onnx'
    """
    return source.partition(":")[0]


def gives_gradients(source: str) -> bool:
    """Whether a model of that scheme can be differentiated by whoever has it."""
    return scheme_of(source) in ("torch", "onnx", "sklearn")


def check_scheme(source: str, kind: Literal["model", "data"]) -> tuple[str, str] | None:
    """What is wrong with the source's form and the remedy; None if nothing is."""
    forms = MODEL_FORMS if kind == "model" else DATA_FORMS
    scheme, colon, rest = source.partition(":")
    if not colon or scheme not in forms:
        meant = nearest(scheme, forms) if colon else None
        public = shown(_SECRET.sub("//…@", source))
        return (
            f"unknown {kind} source {public}{did_you_mean(scheme if colon else '', list(forms))}",
            f"write {forms[meant]}" if meant else f"write one of {', '.join(forms.values())}",
        )
    if kind == "data":
        return None if rest.strip() else (f"{shown(source)} names nothing", f"write {forms[scheme]}")
    if scheme in ("http", "https"):
        return _check_address(source, forms[scheme])
    if scheme in ("torch", "python"):
        named = _NAMED.fullmatch(rest)
        return None if named else (f"{shown(source)} is not {forms[scheme]}", f"write {forms[scheme]}")
    if not rest.strip():
        return f"{shown(source)} names no file", f"write {forms[scheme]}"
    if scheme == "transformers":
        return None
    if scheme == "sklearn":
        return refuse_pickle(rest, _TO_SKOPS)
    return refuse_pickle(rest, "export it with torch.onnx.export(model, example, 'model.onnx')")


def check_weights(weights: str, source: str) -> tuple[str, str] | None:
    """What is wrong with `weights` beside that source, and the remedy; None if nothing is."""
    scheme = scheme_of(source)
    if scheme != "torch":
        return f"weights belong to a torch model; a source of {scheme}: brings its own", "remove 'weights'"
    return refuse_pickle(weights, _TO_SAFETENSORS) or (
        None
        if PurePath(weights).suffix == ".safetensors"
        else (f"weights {shown(weights)} are no .safetensors file", "save them with safetensors.torch.save_file")
    )


def refuse_pickle(file: str, remedy: str) -> tuple[str, str] | None:
    """Refuse the suffixes under which people keep pickles; `remedy` may use `{file}` and `{stem}`."""
    path = PurePath(file)
    if path.suffix.lower() not in _PICKLES:
        return None
    return (
        f"{shown(path.name)} is a pickle by its name, and a pickle can run any code when it is read",
        remedy.replace("{file}", path.name).replace("{stem}", path.stem),
    )


def _check_address(source: str, form: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(source)
        host, password = parts.hostname, parts.username is not None or parts.password is not None
    except ValueError as error:
        return f"the address cannot be read: {error}", f"write {form}"
    if password:
        return (
            "the address holds a user name or password, which would be copied into the evidence",
            "remove what stands before '@'",
        )
    if not host or not re.search(r"/v2/models/[^/]+", parts.path):
        return f"{shown(source)} is not {form}", f"write {form}"
    return None
