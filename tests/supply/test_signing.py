# ruff: noqa: E501  rows of tables
"""Signatures of models: both ways with the tool of OpenSSF, and any change of any file is refused by its name."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from redoubt.cli.sign import make_key, read_key, signature_of
from redoubt.records import ModelError, PolicyError, RedoubtError, SignatureError
from redoubt.supply.signing.bundle import seal, unseal
from redoubt.supply.signing.dsse import pae, read_private_key, read_public_key
from redoubt.supply.signing.manifest import sign_model, verify_model

VECTORS = Path(__file__).parent / "vectors"
TOOL = Path(__file__).parents[2] / ".bench" / "model_signing" / "bin" / "model_signing"
other_tool = pytest.mark.skipif(
    not TOOL.exists(), reason="needs model_signing in .bench/model_signing: see bench/supply.py"
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "signer.key"
    make_key(path)
    return path, path.with_name("signer.key.pub")


def public(keys):
    return read_public_key(keys[1].read_bytes(), "signer.pub")


@pytest.fixture
def model(tmp_path):
    shutil.copytree(VECTORS / "model", tmp_path / "model")
    return tmp_path / "model"


def signed(model, keys):
    sig = signature_of(model)
    sig.write_bytes(sign_model(model, read_key(keys[0]), sig))
    return sig


# ── with the other tool ──────────────────────────────────────────────────────────────────────────────────────────


def test_recorded_signatures_of_the_other_tool_hold():
    key = read_public_key((VECTORS / "signer.pub").read_bytes(), "signer.pub")
    manifest = verify_model(VECTORS / "model", key, VECTORS / "folder.sig")
    assert set(manifest.digests) == {"README.md", "sub/w.safetensors"}
    assert set(verify_model(VECTORS / "model/sub/w.safetensors", key, VECTORS / "file.sig").digests) == {"."}


@other_tool
@pytest.mark.parametrize("what", ["", "sub/w.safetensors"])
def test_the_other_tool_reads_ours(what, model, keys):
    target = model / what
    sig = signed(target, keys)
    done = run("verify", "key", target, "--signature", sig, "--public_key", keys[1])
    assert done.returncode == 0, done.stderr
    (model / "sub" / "w.safetensors").write_bytes(b"another")
    assert run("verify", "key", target, "--signature", sig, "--public_key", keys[1]).returncode != 0


@other_tool
@pytest.mark.parametrize("what", ["", "sub/w.safetensors"])
def test_we_read_what_the_other_tool_writes(what, model, keys, tmp_path):
    target = model / what
    sig = tmp_path / "theirs.sig"
    done = run("sign", "key", target, "--signature", sig, "--private_key", keys[0])
    assert done.returncode == 0, done.stderr
    verify_model(target, public(keys), sig)
    (model / "sub" / "w.safetensors").write_bytes(b"another")
    with pytest.raises(SignatureError):
        verify_model(target, public(keys), sig)


def run(*words):
    return subprocess.run([TOOL, *map(str, words)], capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda c: c.name)
def test_curves(curve, model, tmp_path):
    key = ec.generate_private_key(curve)
    sig = tmp_path / "x.sig"
    sig.write_bytes(sign_model(model, key, sig))
    verify_model(model, key.public_key(), sig)
    if TOOL.exists():
        pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / "x.pub").write_bytes(pem)
        assert run("verify", "key", model, "--signature", sig, "--public_key", tmp_path / "x.pub").returncode == 0


# ── changes ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_flipped_byte_of_every_file_is_found(model, keys):
    sig = signed(model, keys)
    verify_model(model, public(keys), sig)
    for name in ("README.md", "sub/w.safetensors"):
        whole = (model / name).read_bytes()
        for at in range(len(whole)):
            (model / name).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(SignatureError, match=f"changed: {name}"):
                verify_model(model, public(keys), sig)
        (model / name).write_bytes(whole)
    verify_model(model, public(keys), sig)


def test_every_flipped_byte_of_the_signature_is_found_or_means_nothing(model, keys):
    """JSON has bytes that carry no meaning (spaces); whatever else is flipped is refused, and nothing crashes."""
    sig = signed(model, keys)
    whole, held, kinds = sig.read_bytes(), 0, set()
    for at in range(0, len(whole), 3):
        sig.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        try:
            verify_model(model, public(keys), sig)
            held += 1
        except RedoubtError as error:
            kinds.add(type(error))
    assert kinds == {SignatureError}
    assert held < 10  # the empty key id, say


CHANGES = {
    "added": lambda m: (m / "evil.py").write_text("x"),
    "added: .git/hook": lambda m: ((m / ".git").mkdir(), (m / ".git/hook").write_text("x")),
    "removed: README.md": lambda m: (m / "README.md").unlink(),
    "removed: README.md; added: readme.md": lambda m: (m / "README.md").rename(m / "readme.md"),
    "removed: sub/w.safetensors; added: moved/w.safetensors": lambda m: (m / "sub").rename(m / "moved"),
    "link is a symbolic link": lambda m: (m / "link").symlink_to("README.md"),
    "README.md is a symbolic link": lambda m: ((m / "README.md").rename(m.parent / "R"), (m / "README.md").symlink_to(m.parent / "R")),
    "sub is a symbolic link": lambda m: ((m / "sub").rename(m.parent / "s"), (m / "sub").symlink_to(m.parent / "s")),
    "changed: README.md, sub/w.safetensors": lambda m: [(p.write_bytes(p.read_bytes() + b"x")) for p in (m / "README.md", m / "sub/w.safetensors")],
    "pipe is no plain file": lambda m: os.mkfifo(m / "pipe"),
}  # fmt: skip


@pytest.mark.parametrize("said", CHANGES)
def test_changes_are_refused_and_named(said, model, keys):
    sig = signed(model, keys)
    CHANGES[said](model)
    with pytest.raises(SignatureError, match=said):
        verify_model(model, public(keys), sig)


def test_two_files_that_swap_names(model, keys):
    (model / "a").write_text("1")
    (model / "b").write_text("2")
    sig = signed(model, keys)
    (model / "a").write_text("2")
    (model / "b").write_text("1")
    with pytest.raises(SignatureError, match="changed: a, b"):
        verify_model(model, public(keys), sig)


def test_a_model_under_another_name_is_the_same_model(model, keys):
    sig = signed(model, keys)
    moved = model.rename(model.with_name("other"))
    verify_model(moved, public(keys), moved / sig.name)


# ── forged bundles ───────────────────────────────────────────────────────────────────────────────────────────────


def test_another_key(model, keys):
    sig = signed(model, keys)
    with pytest.raises(SignatureError, match="another key"):
        verify_model(model, ec.generate_private_key(ec.SECP256R1()).public_key(), sig)
    told = json.loads(sig.read_bytes())
    told["verificationMaterial"]["publicKey"].pop("hint")
    sig.write_text(json.dumps(told))
    verify_model(model, public(keys), sig)
    with pytest.raises(SignatureError, match="not made with this key"):
        verify_model(model, ec.generate_private_key(ec.SECP256R1()).public_key(), sig)


def forge(sig, change):
    told = json.loads(sig.read_bytes())
    change(told)
    sig.write_text(json.dumps(told))


def payload(told, change):
    inner = json.loads(base64.b64decode(told["dsseEnvelope"]["payload"]))
    change(inner)
    told["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(inner).encode()).decode()


FORGERIES = {
    "payload": lambda t: payload(t, lambda p: p["predicate"]["resources"].pop()),
    "no signature": lambda t: t["dsseEnvelope"].update(signatures=[]),
    "two signatures": lambda t: t["dsseEnvelope"]["signatures"].append(t["dsseEnvelope"]["signatures"][0]),
    "empty signature": lambda t: t["dsseEnvelope"]["signatures"][0].update(sig=""),
    "other payload type": lambda t: t["dsseEnvelope"].update(payloadType="text/plain"),
    "other media type": lambda t: t.update(mediaType="application/json"),
    "certificate": lambda t: t.update(verificationMaterial={"certificate": {"rawBytes": ""}}),
    "no envelope": lambda t: t.pop("dsseEnvelope"),
    "message signature": lambda t: t.update(messageSignature={}, dsseEnvelope=None),
    "url-safe base64": lambda t: t["dsseEnvelope"].update(payload="-_-_"),
    "list": lambda t: t.update(verificationMaterial=[]),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_bundles_are_refused(name, model, keys):
    sig = signed(model, keys)
    forge(sig, FORGERIES[name])
    with pytest.raises(SignatureError):
        verify_model(model, public(keys), sig)


NONSENSE = {
    "no resources": lambda p: p.update(resources=[]),
    "twice": lambda p: p["resources"].append(dict(p["resources"][0])),
    "outside": lambda p: p["resources"][0].update(name="../README.md"),
    "absolute": lambda p: p["resources"][0].update(name="/etc/passwd"),
    "shards": lambda p: p["serialization"].update(method="shards"),
    "other hash": lambda p: p["resources"][0].update(algorithm="md5"),
    "no hex": lambda p: p["resources"][0].update(digest="xyz"),
    "number": lambda p: p.update(resources=[3]),
    "root digest": lambda p: p["resources"].reverse(),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_that_is_rightly_signed_is_refused_too(name, model, keys, tmp_path):
    key = read_key(keys[0])
    told = unseal(sign_model(model, key, tmp_path / "s"), key.public_key(), "s")
    NONSENSE[name](told["predicate"])
    (tmp_path / "s").write_bytes(seal(key, told["subject"], told["predicateType"], told["predicate"]))
    with pytest.raises(SignatureError):
        verify_model(model, public(keys), tmp_path / "s")


def test_a_statement_of_another_kind_is_no_signature(model, keys, tmp_path):
    key = read_key(keys[0])
    (tmp_path / "s").write_bytes(seal(key, [{"name": "m", "digest": {"sha256": "0" * 64}}], "https://x.example/1", {}))
    with pytest.raises(SignatureError, match="another kind"):
        verify_model(model, public(keys), tmp_path / "s")


# ── envelopes and keys ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_encoding_is_the_one_of_the_specification():
    """The vectors of github.com/secure-systems-lab/dsse, protocol.md and implementation/signing_spec.py."""
    assert (
        pae("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("", b"") == b"DSSEv1 0  0 "
    assert pae("é", b"\xff\0") == b"DSSEv1 2 \xc3\xa9 2 \xff\0"


@other_tool
def test_envelopes_are_read_by_the_library_of_others(keys, tmp_path):
    """securesystemslib's DSSE and sigstore's bundle parser, which come with the other tool."""
    key = read_key(keys[0])
    sealed = seal(key, [{"name": "m", "digest": {"sha256": "0" * 64}}], "https://x.example/1", {"a": 1})
    (tmp_path / "b").write_bytes(sealed)
    code = """
import base64, json, sys
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
from sigstore_models.bundle.v1 import Bundle
text = open(sys.argv[1]).read()
Bundle.from_dict(json.loads(text))
wire = json.loads(text)["dsseEnvelope"]
key = SSlibKey.from_crypto(load_pem_public_key(open(sys.argv[2], "rb").read()))
wire["signatures"][0]["keyid"] = key.keyid
print(list(Envelope.from_dict(wire).verify([key], 1)))
"""
    done = subprocess.run(
        [TOOL.with_name("python"), "-c", code, tmp_path / "b", keys[1]],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) > 10


def test_keys_that_will_not_do(keys, tmp_path):
    with pytest.raises(PolicyError, match="private key"):
        read_public_key(keys[0].read_bytes(), "x")
    other = ed25519.Ed25519PrivateKey.generate()
    pem = other.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for raw in (pem, b"", b"words"):
        with pytest.raises(PolicyError, match="no public key"):
            read_public_key(raw, "x")
    with pytest.raises(PolicyError, match="cannot be read"):
        read_private_key(b"words", "x")
    with pytest.raises(PolicyError, match="exists already"):
        make_key(keys[0])
    assert keys[0].stat().st_mode & 0o777 == 0o600


def test_a_key_with_a_password(tmp_path, monkeypatch, model):
    monkeypatch.setenv("REDOUBT_KEY_PASSWORD", "secret")
    make_key(tmp_path / "k")
    read_key(tmp_path / "k")
    monkeypatch.delenv("REDOUBT_KEY_PASSWORD")
    with pytest.raises(PolicyError, match="cannot be read"):
        read_key(tmp_path / "k")


def test_nothing_to_sign(tmp_path, keys):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="no files"):
        sign_model(tmp_path / "empty", read_key(keys[0]), tmp_path / "s")
