"""`redoubt update`: a candidate is looked at, kept, compared, judged; a person has the last word."""

import base64
import json
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits

from guarded import START, ask, digits, new_key, opened, with_guard
from redoubt.models.base import Face
from redoubt.policy import read_policy
from redoubt.records import Learning, LogEntry, ModelError, PolicyError, RedoubtError, digest
from redoubt.records.canonical import canonical_json
from redoubt.service.log import Log, LogReader, entry_bytes, log_signer, parse_entry
from redoubt.service.sandbox.run import Ended
from redoubt.service.update import trial
from redoubt.service.update.force import in_force, roll_back, switch
from redoubt.service.update.queries import past_queries
from redoubt.service.update.shelf import Shelf
from redoubt.service.update.trial import approve, reject, try_candidate
from redoubt.service.update.work import Guilty, perform
from redoubt.service.versions import publish
from redoubt.supply.signing.manifest import sign_model

UPDATE = """\
update:
  bounds: [accuracy_drop <= 3 %, disagreement <= 5 %, contradicted <= 20 %]
  requirements: ignore
"""
SURE = '    - {name: sure, rule: "signals.confidence >= 0.01", otherwise: refuse}'


@pytest.fixture
def path(write):
    """A policy with an update section, and no guard."""
    file = write(take=300)
    file.write_text(file.read_text() + UPDATE)
    return file


@pytest.fixture
def unconfined(monkeypatch):
    """The child's work in this process: what the sandbox itself does is seen by its own tests."""

    def run(job, folder, limits, wait):
        try:
            return Ended(perform(json.loads(canonical_json(job)), folder), "", {"network": "as in the tests"})
        except Guilty as error:
            return Ended(None, str(error), {})

    monkeypatch.setattr(trial, "run_sandboxed", run)


def candidate(path, name="new.safetensors", noise=0.0, scale=1.01, **change):
    """The reader's weights, changed."""
    torch.manual_seed(1)
    weights = load_file(path.parent / "reader.safetensors")
    changed = {key: scale * value + noise * torch.randn_like(value) for key, value in weights.items()} | change
    save_file(changed, path.parent / name)
    return path.parent / name


def batch(path, wrong=0, name="batch.npz"):
    """Digits, the first of them under a wrong label."""
    x, y = load_digits(return_X_y=True)
    rows = np.random.default_rng(3).permutation(len(x))[:200]
    labels = y[rows].copy()
    labels[:wrong] = (labels[:wrong] + 1) % 10
    np.savez(path.parent / name, x=x[rows].reshape(-1, 1, 8, 8).astype(np.float32) / 16, y=labels)
    return path.parent / name


def files(evidence, path):
    return {each.name for each in Shelf(path).of(evidence.id).iterdir()}


# ── 1 hand in, 2 keep ────────────────────────────────────────────────────────────────────────────────────────────


def test_1_a_pickle_is_refused_before_anything_opens_it_and_kept_under_a_name_that_nothing_opens(path, monkeypatch):
    monkeypatch.setattr(trial, "run_sandboxed", lambda *_: pytest.fail("the sandbox was asked"))
    (path.parent / "new.safetensors").write_bytes(pickle.dumps({"a": 1}))
    evidence, state = try_candidate(path, path.parent / "new.safetensors", START)
    assert (evidence.outcome, state.became) == ("refused", "refused")
    assert "nothing in it was executed" in evidence.reasons[0]
    assert files(evidence, path) == {"candidate.refused", "before.yaml", "evidence.json", "state.json"}
    np.savez(path.parent / "b.npz", x=np.array([{"a": 1}], dtype=object), y=np.zeros(1))
    assert try_candidate(path, path.parent / "b.npz", START)[0].outcome == "refused"


def test_1_a_demanded_signature_has_to_hold_for_the_candidate_too(path, unconfined):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder, key = path.parent, ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / "signer.pub").write_bytes(key.public_key().public_bytes(*pem))

    def sign(name):
        (folder / f"{name}.sig").write_bytes(sign_model(folder / name, key, folder / f"{name}.sig"))

    sign("reader.safetensors")
    old = "  weights: reader.safetensors\n"
    demanded = f"{old}  signature: {{bundle: reader.safetensors.sig, key: signer.pub}}\n"
    path.write_text(path.read_text().replace(old, demanded))
    new = candidate(path)
    evidence, _ = try_candidate(path, new, START)
    assert evidence.outcome == "refused"
    sign("new.safetensors")
    evidence, state = try_candidate(path, new, START)
    assert (evidence.outcome, state.became) == ("accepted", "in force")
    model = read_policy(path).policy.model
    assert model.signature.bundle == f"policy.updates/{evidence.id}/new.safetensors.sig"
    with pytest.raises(PolicyError, match="nobody has signed what comes of a batch"):
        try_candidate(path, batch(path), START)


# ── 3 learn ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("wrong", "outcome"), [(0, "accepted"), (80, "refused")])
def test_3_a_batch_is_learnt_on_a_copy_and_refused_if_the_model_contradicts_its_labels(
    path, unconfined, wrong, outcome
):
    before = (path.parent / "reader.safetensors").read_bytes()
    evidence, _ = try_candidate(path, batch(path, wrong), START)
    assert evidence.outcome == outcome, evidence.reasons
    assert (path.parent / "reader.safetensors").read_bytes() == before
    learnt = load_file(Shelf(path).of(evidence.id) / "weights.safetensors")
    assert any((learnt[name] != value).any() for name, value in load_file(path.parent / "reader.safetensors").items())
    (found,) = [change for change in evidence.changes if change.measure == "contradicted"]
    assert abs(found.value - wrong / 200) < 0.03
    assert evidence.kind == "batch"


def test_3_a_batch_that_does_not_fit_is_the_candidates_fault(path, unconfined):
    np.savez(path.parent / "b.npz", x=np.zeros((5, 3), dtype=np.float32), y=np.zeros(5, dtype=np.int64))
    evidence, _ = try_candidate(path, path.parent / "b.npz", START)
    assert evidence.outcome == "refused"
    assert "could not be learnt" in evidence.reasons[0]


def test_3_the_same_batch_gives_the_same_weights_and_other_models_learn_none():
    from redoubt.data import Dataset
    from redoubt.models import TorchModel
    from redoubt.service.update.learn import learn_batch

    x = torch.rand(40, 3)
    data = Dataset(x, (x[:, 0] > 0.5).long(), "here", "sha256:" + "0" * 64)
    first = torch.nn.Linear(3, 2)
    weights = {name: value.clone() for name, value in first.state_dict().items()}
    found = []
    for _ in range(2):
        module = torch.nn.Linear(3, 2)
        module.load_state_dict(weights)
        model = TorchModel(module, Face((3,), 0.0, 1.0, 2))
        found.append(learn_batch(model, data, data, Learning(epochs=3, learning_rate=0.1), seed=7))
    assert all(torch.equal(found[0][name], found[1][name]) for name in weights)
    assert not torch.equal(found[0]["weight"], weights["weight"])
    with pytest.raises(ModelError, match="learns no batch"):
        learn_batch(SimpleNamespace(), data, None, Learning(), 0)


# ── 4 compare, 5 judge ───────────────────────────────────────────────────────────────────────────────────────────


ONNX = """\
redoubt: 1
system: digits
model:
  source: onnx:{name}
  input: {{shape: [1, 8, 8], range: [0, 1]}}
  classes: 10
data:
  test: {{source: sklearn:digits/test, take: 300}}
adversaries:
  insider: {{knows: weights, budget: {{passes: 10}}}}
requirements:
  - id: noise
    game: evasion
    adversary: insider
    within: {{norm: linf, radius: 0.04}}
    require: robust_accuracy >= 0.1
"""


@pytest.fixture(scope="module")
def regression():
    """Coefficients `[64, 10]` of a softmax regression on digits."""
    from sklearn.linear_model import LogisticRegression

    x, y = load_digits(return_X_y=True)
    fitted = LogisticRegression(max_iter=200).fit(x / 16, y)
    return fitted.coef_.T.astype(np.float32)


def in_two_files(folder, coefficients, scale=1.0, name="reader"):
    """The regression as an ONNX model whose coefficients lie in a file beside it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(scale * coefficients, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder.mkdir(exist_ok=True)
    onnx.save_model(
        model, folder / f"{name}.onnx", save_as_external_data=True, location=f"{name}.data", size_threshold=0
    )
    return folder / f"{name}.onnx"


def test_3_an_onnx_model_of_two_files_is_packed_into_one_and_the_next_one_is_compared_with_it(
    tmp_path, unconfined, regression
):
    """Also the model in force, in two files itself, is kept whole as what later updates are counted from."""
    in_two_files(tmp_path, regression)
    path = tmp_path / "policy.yaml"
    path.write_text(ONNX.format(name="reader.onnx") + UPDATE)
    evidence, state = try_candidate(path, in_two_files(tmp_path / "new", regression, 1.01, "next"), START)
    assert (evidence.outcome, state.became) == ("accepted", "in force"), evidence.reasons
    assert files(evidence, path) == {"handed", "weights.onnx", "before.yaml", "evidence.json", "state.json"}
    folder = Shelf(path).of(evidence.id)
    assert {each.name for each in (folder / "handed").iterdir()} == {"next.onnx", "next.data"}
    assert evidence.weights == digest((folder / "weights.onnx").read_bytes())
    assert read_policy(path).policy.model.source == f"onnx:policy.updates/{evidence.id}/weights.onnx"
    later, _ = try_candidate(path, in_two_files(tmp_path / "later", regression, 1.02, "next"), START)
    assert later.outcome == "accepted", later.reasons
    against = {change.against: change for change in later.changes if change.measure == "disagreement"}
    assert against["anchor"].value == 0
    assert later.anchor not in (None, later.current)


def test_1_tensors_beside_an_onnx_model_that_lead_elsewhere_or_that_nobody_signed_are_refused(
    tmp_path, unconfined, regression
):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    in_two_files(tmp_path, regression)
    path = tmp_path / "policy.yaml"
    path.write_text(ONNX.format(name="reader.onnx") + UPDATE)
    new = in_two_files(tmp_path / "new", regression, 1.01, "next")
    (tmp_path / "new/next.data").rename(tmp_path / "elsewhere")
    (tmp_path / "new/next.data").symlink_to(tmp_path / "elsewhere")
    evidence, _ = try_candidate(path, new, START)
    assert evidence.outcome == "refused"
    assert "no plain file beside the model" in evidence.reasons[0]
    assert files(evidence, path) == {"candidate.refused", "before.yaml", "evidence.json", "state.json"}
    (tmp_path / "new/next.data").unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "new/next.data")
    key = ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "signer.pub").write_bytes(key.public_key().public_bytes(*pem))
    signature = new.with_name("next.onnx.sig")
    signature.write_bytes(sign_model(new, key, signature))
    demanded = "  source: onnx:reader.onnx\n  signature: {bundle: reader.onnx.sig, key: signer.pub}\n"
    path.write_text(path.read_text().replace("  source: onnx:reader.onnx\n", demanded))
    evidence, _ = try_candidate(path, new, START)
    assert evidence.outcome == "refused"
    assert evidence.reasons[0].endswith("its tensors lie in next.data, which nobody signed.")


def test_4_in_the_sandbox_with_requirements_and_the_evidence_says_what_held_it(path):
    """The one test in which the real child runs: what it loads, limits and answers."""
    path.write_text(path.read_text().replace("requirements: ignore", "reassess: {examples: 40, passes: 100}"))
    evidence, state = try_candidate(path, candidate(path), START)
    assert (evidence.outcome, state.became) == ("accepted", "in force"), evidence.reasons
    assert [each.id for each in evidence.requirements] == ["noise"]
    assert set(evidence.sandbox) == {"files", "network", "memory", "processor"}
    raw = (Shelf(path).of(evidence.id) / "evidence.json").read_bytes()
    assert raw == canonical_json(json.loads(raw))
    assert evidence.model != evidence.current


@pytest.mark.parametrize("how", ["noise", "nan", "shape"])
def test_5_a_bad_candidate_is_refused_kept_and_changes_nothing(path, unconfined, how):
    text = path.read_text()
    change = {"noise": {}, "nan": {"second.bias": torch.full((10,), torch.nan)}, "shape": {"extra": torch.zeros(3)}}
    new = candidate(path, noise=0.3 if how == "noise" else 0.0, **change[how])
    evidence, state = try_candidate(path, new, START)
    assert (evidence.outcome, state.became) == ("refused", "refused")
    told = {"noise": "accuracy_drop", "nan": "NaN", "shape": "unexpected: extra"}
    assert any(told[how] in reason for reason in evidence.reasons), evidence.reasons
    assert path.read_text() == text
    assert "new.safetensors" in files(evidence, path)
    with pytest.raises(PolicyError, match="does not wait for a person: it is refused"):
        approve(path, evidence.id, "ann", START)


def test_5_small_steps_are_counted_from_the_model_that_a_person_vouched_for(path, unconfined):
    """Each step is within the bounds; together they are not; a person's approval begins a new count."""
    path.write_text(path.read_text().replace("disagreement <= 5 %", "disagreement <= 5 %, output_drift <= 25 %"))
    became = []
    for step in range(1, 12):
        scale = 0.8**step
        evidence, state = try_candidate(path, candidate(path, f"step{step}.safetensors", scale=scale), START + step)
        became.append(state.became)
        if state.became != "in force":
            break
        assert {change.stand for change in evidence.changes if change.against == "current"} <= {"holds", None}
    assert became[:2] == ["in force", "in force"]
    assert became[-1] in ("refused", "person")
    assert any("a person vouched for" in reason for reason in evidence.reasons)
    assert evidence.anchor != evidence.current
    if became[-1] == "person":
        approve(path, evidence.id, "ann", START + 50)
    else:
        path.write_text(path.read_text().replace("requirements: ignore", "total: null\n  requirements: ignore"))
        assert (
            try_candidate(path, candidate(path, "again.safetensors", scale=scale), START + 60)[1].became == "in force"
        )


# ── 6 write: a person's word ─────────────────────────────────────────────────────────────────────────────────────


def test_6_a_person_approves_or_rejects_what_the_data_cannot_tell(path, unconfined):
    path.write_text(path.read_text().replace("accuracy_drop <= 3 %", "accuracy_drop <= 0.5 %"))
    first, second = candidate(path), candidate(path, "other.safetensors", scale=1.02)
    evidence, state = try_candidate(path, first, START)
    other, _ = try_candidate(path, second, START + 1)
    assert (evidence.outcome, state.became, state.by) == ("person", "person", "gate")
    assert "reader.safetensors" in path.read_text()
    assert reject(path, other.id, "bob", START + 2).became == "rejected"
    with pytest.raises(PolicyError, match="was handed in before, and is rejected"):
        try_candidate(path, second, START + 3)
    state = approve(path, evidence.id, "ann", START + 4)
    assert (state.became, state.by) == ("in force", "ann")
    model = read_policy(path).policy.model
    assert model.weights == f"policy.updates/{evidence.id}/new.safetensors"
    assert model.digest == evidence.weights == digest((path.parent / model.weights).read_bytes())
    assert Shelf(path).anchor().digest == evidence.weights  # later updates are counted from there
    with pytest.raises(PolicyError, match="does not wait"):
        approve(path, evidence.id, "ann", START + 5)


def test_6_what_was_compared_is_what_is_put_in_force(path, unconfined):
    path.write_text(path.read_text().replace("accuracy_drop <= 3 %", "accuracy_drop <= 0.5 %"))
    evidence, _ = try_candidate(path, candidate(path), START)
    kept = Shelf(path).of(evidence.id) / "new.safetensors"
    good = kept.read_bytes()
    kept.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(PolicyError, match="is not what was compared"):
        approve(path, evidence.id, "ann", START)
    kept.write_bytes(good)
    path.write_text(path.read_text() + "# another policy\n")
    with pytest.raises(PolicyError, match="was compared with another version"):
        approve(path, evidence.id, "ann", START)
    with pytest.raises(PolicyError, match="there is no candidate"):
        approve(path, "../../etc", "ann", START)


# ── 7 switch ─────────────────────────────────────────────────────────────────────────────────────────────────────


def kept_inputs(path):
    """The policy with a guard that keeps inputs."""
    file = with_guard(path, admit=SURE, per_day=100_000)
    file.write_text(file.read_text().replace("decision, signals]", "decision, signals, input]"))
    return file


def test_7_a_running_guard_switches_and_rolls_back_at_once_and_the_log_says_which_answered(path, unconfined):
    path = kept_inputs(path)
    with opened(path) as guard:
        key = new_key(guard)
        for at in range(3):
            assert ask(guard, key, digits(40, seed=at))[0] == 200
        guard.checkpoint()
        old = guard.chain.book
        evidence, state = try_candidate(path, candidate(path), START)
        assert state.became == "in force", evidence.reasons
        assert {(c.among, c.against) for c in evidence.changes} >= {("queries", "current"), ("queries", "stored")}
        assert ask(guard, key, digits(5, seed=9))[0] == 200  # the old model answers until the next look
        guard.poll()
        assert guard.chain.book.model == evidence.model != old.model
        assert ask(guard, key, digits(5, seed=10))[0] == 200
        identity, rewritten = roll_back(read_policy(path), Shelf(path), START + 1)
        assert (identity, rewritten) == (evidence.id, True)
        guard.poll()
        assert guard.chain.book.model == old.model
        assert guard.chain.book.backend is old.backend  # it was still in memory
        assert ask(guard, key, digits(5, seed=11))[0] == 200
        guard.checkpoint()
        reader = LogReader(guard.log)
        entries = [parse_entry(raw) for raw in reader.entries()]
    assert "weights: reader.safetensors" in path.read_text()
    decided = [entry.model for entry in entries if entry.kind == "decision"]
    assert decided == [old.model] * 125 + [evidence.model] * 5 + [old.model] * 5
    told = [(entry.kind, entry.detail["by"]) for entry in entries if entry.kind in ("reload", "rollback")]
    assert told == [("reload", f"update {evidence.id}"), ("rollback", "rollback to 1")]
    with pytest.raises(PolicyError, match="did not come from redoubt update"):
        roll_back(read_policy(path), Shelf(path), START + 2)


def test_7_killed_between_store_and_file_the_store_is_right(path, unconfined, monkeypatch):
    path = kept_inputs(path)
    with opened(path):
        pass
    before = path.read_text()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("redoubt.service.update.force.write_atomically", killed)
    with pytest.raises(KeyboardInterrupt):
        try_candidate(path, candidate(path), START)
    monkeypatch.undo()
    assert path.read_text() == before
    with opened(path) as guard:
        assert "policy.updates" in guard.store.latest_version().text
        assert guard.chain.book.digest == guard.store.latest_version().digest


def test_7_a_file_with_changes_that_are_not_in_force_is_not_overwritten(path):
    path = kept_inputs(path)
    with opened(path):
        path.write_text(path.read_text() + "# mine\n")
        with pytest.raises(PolicyError, match="has changes that are not in force"):
            in_force(read_policy(path))


def test_7_of_two_updates_at_once_the_second_must_be_compared_again(path):
    path = kept_inputs(path)
    with opened(path) as guard:
        force = in_force(read_policy(path))
        publish(guard.store, read_policy(path), START, "x")
        other = path.read_text() + "# other\n"
        path.write_text(other)
        publish(guard.store, read_policy(path), START, "y")
        with pytest.raises(PolicyError, match="another version was put in force meanwhile"):
            switch(force, force.now.text + "# ours\n", "update abc", START)
        assert path.read_text() == other


def test_7_without_a_store_a_file_that_was_changed_meanwhile_is_neither_overwritten_nor_said_to_be_in_force(path):
    force = in_force(read_policy(path))
    other = path.read_text() + "# other\n"
    path.write_text(other)
    with pytest.raises(PolicyError, match="changed meanwhile"):
        switch(force, force.now.text + "# ours\n", "update abc", START)
    assert path.read_text() == other


def test_7_what_a_person_refused_while_it_was_being_put_in_force_stays_refused(path, unconfined, monkeypatch):
    real = trial.in_force

    def slowly(file):
        """The person is quicker."""
        force = real(file)
        for evidence, state in Shelf(path).all():
            if state.became == "person":
                reject(path, evidence.id, "ada", START)
        return force

    path.write_text(path.read_text().replace("disagreement <= 5 %", "disagreement <= 0.1 %"))
    before = path.read_text()
    evidence, state = try_candidate(path, candidate(path), START)
    assert state.became == "person"
    monkeypatch.setattr(trial, "in_force", slowly)
    with pytest.raises(PolicyError, match="does not wait for a person: it is rejected"):
        approve(path, evidence.id, "bob", START)
    assert path.read_text() == before
    assert Shelf(path).read(evidence.id)[1].by == "ada"


# ── past queries ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_past_queries_are_the_latest_each_once_and_of_no_one_too_many(tmp_path):
    face = Face((2,), 0.0, 1.0, classes=3)

    def entry(value, account, label=1, **more):
        raw = np.array([value, 0.5], dtype="<f4").tobytes()
        return LogEntry(
            kind="decision", at=1, account=account, label=label, input=base64.b64encode(raw).decode(), **more
        )

    entries = [entry(at / 1000, "flood") for at in range(200)]
    entries += [entry(0.9 + at / 1000, f"customer {at}", label=2) for at in range(10)]
    entries += [entry(0.9, "customer 0", label=2), entry(7.0, "odd"), LogEntry(kind="stop", at=2)]
    log = Log.open(tmp_path / "audit", "digits", log_signer(tmp_path / "audit", "digits"))
    log.append([entry_bytes(each) for each in entries])
    log.checkpoint()
    log.close()
    found = past_queries(tmp_path / "audit", face, 50)
    values = found["x"][:, 0].tolist()
    assert found["x"].shape == (15, 2)
    assert sum(value < 0.5 for value in values) == 5  # a tenth of 50
    assert min(value for value in values if value < 0.5) == pytest.approx(0.195)  # the latest of them
    assert found["labels"].tolist() == [2 if value > 0.5 else 1 for value in values]
    assert past_queries(tmp_path / "audit", face, 0) is None
    assert past_queries(tmp_path / "nowhere", face, 50) is None


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_says_what_it_did_and_how_it_ended(path, unconfined, monkeypatch, capsys):
    import sys

    from redoubt.cli.app import run

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["redoubt", "update", str(path), *words])
        code = run()
        said = capsys.readouterr()
        return code, said.out + said.err

    code, said = call("--candidate", str(candidate(path, "bad.safetensors", noise=0.3)))
    assert (code, "refused" in said) == (1, True)
    code, said = call("--candidate", str(candidate(path)), "--json")
    assert (code, json.loads(said)["outcome"]) == (0, "accepted")
    code, said = call("--list", "--json")
    assert sorted(each["became"] for each in json.loads(said)) == ["in force", "refused"]
    assert call("--list")[0] == 0
    code, said = call("--rollback")
    assert code == 0
    assert "weights: reader.safetensors" in path.read_text()
    assert call("--list", "--rollback")[0] == 3
    assert call()[0] == 3
    assert call("--approve", "nothing")[0] == 3


def test_a_policy_without_an_update_section_says_so(write):
    with pytest.raises(RedoubtError, match="no update section"):
        try_candidate(write(), write().parent / "reader.safetensors", START)
