# ruff: noqa: E402  the corpora are those of the tests
"""Artefacts: the corpora through the scanner and the loaders, and signatures both ways with the tool of OpenSSF.

One command: `python bench/supply.py`.  The other tool has an environment of its own, which is made once:
`python -m venv .bench/model_signing && .bench/model_signing/bin/pip install model-signing==1.1.1 pyopenssl==26.4.0`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / "tests" / "supply")]

import benign
import malicious

from common import HOME, write
from redoubt.cli.sign import make_key, read_key
from redoubt.models import load_model, nowhere
from redoubt.records import ModelError, ModelSource, SignatureError
from redoubt.supply import judge
from redoubt.supply.signing.dsse import read_public_key
from redoubt.supply.signing.manifest import sign_model, verify_model

TOOL = HOME / "model_signing" / "bin" / "model_signing"
FACE = {"input": {"shape": [4], "range": [-9, 9]}, "classes": 3}
LOADERS = (("torch", "safetensors"), ("onnx", "onnx"), ("sklearn", "skops"))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        write("supply", {**corpora(base), "signatures": signatures(base)})


def corpora(base: Path) -> dict[str, object]:
    marker = base / "marker"
    bad, good = malicious.corpus(marker), benign.corpus()
    begun = time.process_time()
    judged = {name: judge(name, raw) for name, raw in bad.items()}
    fine = {name: judge(name, raw) for name, raw in good.items()}
    seconds = time.process_time() - begun
    (base / "maker.py").write_text("import torch\ndef build(): return torch.nn.Linear(4, 3)\n")
    return {
        "malicious": len(bad),
        "formats": dict(Counter(one.format for one in judged.values())),
        "kinds": dict(Counter(one.findings[0].kind.value for one in judged.values() if one.findings)),
        "allowed": sorted(name for name, one in judged.items() if one.allowed),
        "loaded": sorted(f"{name} by {scheme}" for name, raw in bad.items() for scheme in loads(base, raw)),
        "executed": marker.exists(),
        "benign": len(good),
        "benign_formats": dict(Counter(one.format for one in fine.values())),
        "refused": sorted(name for name, one in fine.items() if not one.allowed),
        "seconds": seconds,
        "bytes": sum(map(len, bad.values())) + sum(map(len, good.values())),
    }


def loads(base: Path, raw: bytes) -> list[str]:
    """The loaders that accept the bytes under the name that they expect."""
    found = []
    for scheme, suffix in LOADERS:
        path = base / f"m.{suffix}"
        path.write_bytes(raw)
        where = (
            {"source": "torch:maker:build", "weights": path.name}
            if scheme == "torch"
            else {"source": f"{scheme}:{path.name}"}
        )
        try:
            load_model(ModelSource.model_validate(where | FACE), base, nowhere)
            found.append(scheme)
        except ModelError:
            pass
        path.unlink()
    return found


def signatures(base: Path) -> dict[str, object]:
    key = base / "signer.key"
    make_key(key)
    public = read_public_key((base / "signer.key.pub").read_bytes(), "k")
    model = base / "model"
    (model / "sub").mkdir(parents=True)
    files = benign.tensors()
    (model / "w.safetensors").write_bytes(files["weights.safetensors"])
    (model / "sub" / "n.safetensors").write_bytes(files["half.safetensors"])
    sig = base / "model.sig"
    sig.write_bytes(sign_model(model, read_key(key), sig))
    flips = found = 0
    for path in sorted(p for p in model.rglob("*") if p.is_file()):
        whole = path.read_bytes()
        for at in range(len(whole)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            flips += 1
            found += refused(model, public, sig, f"changed: {path.relative_to(model).as_posix()}")
        path.write_bytes(whole)
    changes = {
        "added": ("added: x", lambda m: (m / "x").write_text("x")),
        "removed": ("removed: w.safetensors", lambda m: (m / "w.safetensors").unlink()),
        "renamed": ("added: v.safetensors", lambda m: (m / "w.safetensors").rename(m / "v.safetensors")),
        "symlink": ("link is a symbolic link", lambda m: (m / "link").symlink_to("w.safetensors")),
    }
    result = {}
    for name, (said, change) in changes.items():
        copy = base / "copies" / name
        shutil.copytree(model, copy)
        change(copy)
        result[name] = refused(copy, public, sig, said)
    trips = {"ours_read_by_theirs": None, "theirs_read_by_ours": None}
    if TOOL.exists():
        theirs = base / "theirs.sig"
        done = tool("verify", "key", model, "--signature", sig, "--public_key", base / "signer.key.pub")
        trips["ours_read_by_theirs"] = done
        tool("sign", "key", model, "--signature", theirs, "--private_key", key)
        trips["theirs_read_by_ours"] = not refused(model, public, theirs, "")
    return {"flips": flips, "found": found, "changes": result, **trips}


def refused(model: Path, key: object, sig: Path, said: str) -> bool:
    try:
        verify_model(model, key, sig)
    except SignatureError as error:
        return said in error.what
    return False


def tool(*words: object) -> bool:
    return (
        subprocess.run([str(TOOL), *map(str, words)], capture_output=True, check=False, env=os.environ).returncode == 0
    )


if __name__ == "__main__":
    main()
