"""Evidence as a signed statement, the guard that does not serve without it, bills of materials, the command line."""

import json
import shutil
import sys

import pytest

from guarded import opened, with_guard
from redoubt.assess import assess
from redoubt.cli.app import run
from redoubt.cli.sign import make_key, read_key
from redoubt.policy import parse_policy, read_policy
from redoubt.records import ModelError, PolicyError, SignatureError, digest
from redoubt.supply.signing.attest import RESULT, attest_origin, check_evidence, read_origin
from redoubt.supply.signing.bundle import unseal
from redoubt.supply.signing.dsse import read_public_key

DEMAND = "  demand: {attestation: policy.attestation, key: assessor.key.pub}\n"
REQUIREMENT = """\
  - id: noise
    game: evasion
    adversary: stranger
    within: {norm: linf, radius: 0.02}
    require: robust_accuracy >= 0.1
    strategies: [random]"""


def redoubt(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["redoubt", *map(str, words)])
    return run()


@pytest.fixture
def demanding(write, monkeypatch):
    """A guarded policy that demands an attestation, assessed and attested."""
    path = with_guard(write(requirements=REQUIREMENT, take=40), extra=DEMAND)
    make_key(path.parent / "assessor.key")
    assess(read_policy(path), path.with_suffix(".evidence"), workers=1)
    assert redoubt(monkeypatch, "attest", path, "--key", path.parent / "assessor.key") == 0
    return path


def test_the_guard_serves_what_was_attested_and_nothing_else(demanding, monkeypatch):
    base = demanding.parent
    with opened(demanding):
        pass
    attested = (base / "policy.attestation").read_bytes()

    (base / "policy.attestation").unlink()
    with pytest.raises(ModelError, match="is not served: cannot read"):
        opened(demanding).__enter__()

    told = json.loads(attested)
    told["dsseEnvelope"]["signatures"][0]["sig"] = "AAAA"
    (base / "policy.attestation").write_text(json.dumps(told))
    with pytest.raises(ModelError, match="not made with this key"):
        opened(demanding).__enter__()
    (base / "policy.attestation").write_bytes(attested)

    demanding.write_text(demanding.read_text().replace(">= 0.1", ">= 0.9"))
    with pytest.raises(ModelError, match="about another requirement 'noise'"):
        opened(demanding).__enter__()
    demanding.write_text(demanding.read_text().replace(">= 0.9", ">= 0.1"))

    (base / "assessor.key").unlink()
    make_key(base / "assessor.key")
    with pytest.raises(ModelError, match="another key"):
        opened(demanding).__enter__()


def test_another_model_is_not_served(demanding, reader_weights):
    from safetensors.torch import load_file, save_file

    weights = load_file(reader_weights)
    name = next(iter(weights))
    save_file({**weights, name: weights[name] * 1.01}, demanding.parent / "reader.safetensors")
    with pytest.raises(ModelError, match="is about another model"):
        opened(demanding).__enter__()


def test_what_the_attestation_says(demanding):
    key = read_public_key((demanding.parent / "assessor.key.pub").read_bytes(), "k")
    told = unseal((demanding.parent / "policy.attestation").read_bytes(), key, "a")
    assert told["predicateType"] == RESULT
    assert told["predicate"]["result"] == "PASSED"
    assert told["predicate"]["passedTests"] == ["noise"]
    assert [each["name"] for each in told["subject"]] == ["reader.safetensors"]


def test_a_verdict_that_is_not_accepted(demanding):
    file = read_policy(demanding)
    raw = (demanding.parent / "policy.attestation").read_bytes()
    key = read_public_key((demanding.parent / "assessor.key.pub").read_bytes(), "k")
    model = unseal(raw, key, "a")["predicate"]["redoubt"]["model"]
    demand = file.policy.guard.demand
    check_evidence(raw, key, demand, file.policy, model)
    with pytest.raises(SignatureError, match="'noise' is withstood, and the policy accepts proved"):
        check_evidence(raw, key, demand.model_copy(update={"accept": ("proved",)}), file.policy, model)
    more = parse_policy(demanding.read_bytes().replace(b"id: noise", b"id: other"), demanding).policy
    with pytest.raises(SignatureError, match="says nothing of requirement 'other'"):
        check_evidence(raw, key, demand, more, model)


def test_evidence_of_another_policy_or_model_is_not_attested(demanding, monkeypatch, capsys):
    key = demanding.parent / "assessor.key"
    demanding.write_text(demanding.read_text().replace("radius: 0.02", "radius: 0.01"))
    assert redoubt(monkeypatch, "attest", demanding, "--key", key) == 3
    assert "of another policy" in capsys.readouterr().err


def test_origin(tmp_path):
    make_key(tmp_path / "k")
    key = read_key(tmp_path / "k")
    files = {"w.safetensors": "sha256:" + "1" * 64}
    raw = attest_origin(key, files, {"training data": "sha256:" + "2" * 64}, {"seed": 1}, "urn:redoubt:0")
    told = read_origin(raw, key.public_key(), "p", files)
    assert told["buildDefinition"]["resolvedDependencies"][0]["digest"] == {"sha256": "2" * 64}
    with pytest.raises(SignatureError, match=r"not about w\.safetensors as it is"):
        read_origin(raw, key.public_key(), "p", {"w.safetensors": "sha256:" + "3" * 64})


def test_the_origin_of_a_hardened_model_end_to_end(write, monkeypatch, capsys):
    path = write(requirements=f"{REQUIREMENT}\nharden: {{against: noise, epochs: 1, steps: 1}}")
    base, hardened = path.parent, path.with_suffix(".hardened.yaml")
    make_key(base / "assessor.key")
    assert redoubt(monkeypatch, "harden", path) == 0
    words = ("attest", hardened, "--key", base / "assessor.key", "--hardened", base / "policy.hardened")
    assert redoubt(monkeypatch, *words) == 0
    weights = base / "policy.hardened" / "model.safetensors"
    files = {weights.name: digest(weights.read_bytes())}
    public = read_public_key((base / "assessor.key.pub").read_bytes(), "key")
    raw = hardened.with_suffix(".provenance").read_bytes()
    told = read_origin(raw, public, "p", files)
    evidence = json.loads((base / "policy.hardened" / "hardened.json").read_text())
    assert told["buildDefinition"]["externalParameters"]["recipe"]["epochs"] == 1
    assert evidence["data"].removeprefix("sha256:") in json.dumps(told["buildDefinition"]["resolvedDependencies"])

    assert redoubt(monkeypatch, "attest", path, *words[2:]) != 0  # the policy with the weights of before
    assert "names other weights" in capsys.readouterr().err


def test_pins_of_models_without_a_file_are_policy_errors(write):
    path = write()
    text = path.read_text().replace("  weights: reader.safetensors\n", "  digest: sha256:" + "0" * 64 + "\n")
    with pytest.raises(PolicyError, match="has none without weights"):
        parse_policy(text.encode(), path)


def test_scan_sign_verify_on_the_command_line(write, monkeypatch, capsys, tmp_path):
    path = write(folder="m")
    model, key = path.parent, tmp_path / "k"
    for name in ("planted.py", "policy.yaml"):
        (model / name).unlink()
    assert redoubt(monkeypatch, "scan", model) == 0
    capsys.readouterr()
    assert redoubt(monkeypatch, "sign", model, "--key", key, "--new-key") == 0
    assert redoubt(monkeypatch, "verify", model, "--key", f"{key}.pub") == 0
    shutil.copy(model / "reader.safetensors", model / "more.safetensors")
    assert redoubt(monkeypatch, "verify", model, "--key", f"{key}.pub") == 1
    assert "added: more.safetensors" in capsys.readouterr().err
    (model / "x.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert redoubt(monkeypatch, "scan", model, "--json", "--bom", tmp_path / "bom.json") == 1
    files = {one["file"]: one["allowed"] for one in json.loads(capsys.readouterr().out)["files"]}
    assert files == {"model.sig": True, "more.safetensors": True, "reader.safetensors": True, "x.pkl": False}
    bom = json.loads((tmp_path / "bom.json").read_text())
    assert [each["type"] for each in bom["components"]] == ["file", *["machine-learning-model"] * 2, "file"]
    (model / "x.pkl").write_bytes(b"GGUF\0\0")
    assert redoubt(monkeypatch, "scan", model / "x.pkl") == 1  # its name says pickle
    (model / "x.gguf").write_bytes(b"GGUF\0\0")
    assert redoubt(monkeypatch, "scan", model / "x.gguf") == 2
    assert redoubt(monkeypatch, "scan", model / "nowhere") == 3


def test_a_bill_of_materials_keeps_to_the_official_schema():
    validation = pytest.importorskip("cyclonedx.validation.json")
    import benign
    import malicious
    from cyclonedx.schema import SchemaVersion

    from redoubt.supply import judge
    from redoubt.supply.bom import bill_of_materials

    files = {**benign.tensors(), **benign.texts(), **malicious.safetensors_files("true")}
    raw = bill_of_materials("m", [judge(name, content) for name, content in files.items()])
    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(raw.decode()) is None
    broken = raw.decode().replace('"SHA-256"', '"SHA-1000"')
    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(broken) is not None


def test_sarif_keeps_to_its_schema(tmp_path):
    from pathlib import Path

    import jsonschema
    import malicious

    from redoubt.supply import judge
    from redoubt.supply.sarif import render

    schema = json.loads((Path(__file__).parents[1] / "report/sarif-schema-2.1.0.json").read_text())
    judged = [judge(name, raw) for name, raw in malicious.pickles(tmp_path / "m", "true").items()]
    jsonschema.validate(json.loads(render(tmp_path, judged)), schema)
