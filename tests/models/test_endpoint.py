"""The client of the Open Inference Protocol, against a real server that is sound, slow, broken or lying."""

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redoubt.models import Endpoint, LabelEndpoint, Metered, Patience, examine, load_model, nowhere
from redoubt.models.endpoint import load_endpoint
from redoubt.models.v2 import infer_outputs, parse_json, scores_or_labels
from redoubt.records import Access, Budget, EndpointError, InputFace, ModelError, ModelSource, Place, PolicyError
from v2_server import V2Server, tensor

W = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
X = torch.rand(10, 1, 2, 2, generator=torch.Generator().manual_seed(0))
QUICK = Patience(answer=2.0, connect=1.0, pauses=(0.01, 0.01), rows=4)


def linear(x: np.ndarray) -> list[dict[str, Any]]:
    return [tensor(x.reshape(len(x), -1) @ W)]


@pytest.fixture
def server() -> Iterator[V2Server]:
    with V2Server(linear, [-1, 1, 2, 2]).running() as running:
        yield running


def source(url: str, classes: int = 3, **more: Any) -> ModelSource:
    face = InputFace(shape=(1, 2, 2), range=(0.0, 1.0), mean=more.pop("mean", None))
    return ModelSource(source=url, input=face, classes=classes, **more)


def place(*key: str) -> Place:
    return Place("policy.yaml:" + ".".join(key), 4)


def load(server: V2Server, patience: Patience = QUICK, **more: Any) -> Endpoint:
    return load_endpoint(source(server.url, **more), place, patience)


def test_scores_over_http_in_parts(server: V2Server) -> None:
    model = load(server)
    server.seen.clear()
    answer = model.query(X)
    assert torch.allclose(answer.scores, X.flatten(1) @ torch.from_numpy(W), atol=1e-6)  # type: ignore[arg-type]
    assert [request["inputs"][0]["shape"] for request in server.seen] == [[4, 1, 2, 2], [4, 1, 2, 2], [2, 1, 2, 2]]
    sent = np.concatenate([r["inputs"][0]["data"] for r in server.seen]).astype(np.float32)
    assert np.array_equal(sent, X.numpy().reshape(-1))  # row-major, and every bit of it
    assert server.seen[0]["inputs"][0]["name"] == "x"
    assert model.access == Access.SCORES
    assert model.query(X[:0]).labels.shape == (0,)
    examine(model, X, "logits", nowhere)


def test_it_is_a_source_of_the_policy(server: V2Server, tmp_path: Path) -> None:
    model = load_model(source(server.url + "/", mean=(0.5,)), tmp_path, place)
    expected = (X - 0.5).flatten(1) @ torch.from_numpy(W)
    assert torch.allclose(model.query(X).scores, expected, atol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [1, 3])
def test_a_fixed_batch_is_filled_up(server: V2Server, rows: int) -> None:
    server.inputs[0]["shape"] = [rows, 1, 2, 2]
    model = load(server)
    assert torch.allclose(model.query(X).scores, X.flatten(1) @ torch.from_numpy(W), atol=1e-6)  # type: ignore[arg-type]
    assert {request["inputs"][0]["shape"][0] for request in server.seen} == {rows}


def test_servers_that_declare_no_inputs(server: V2Server) -> None:
    server.inputs = []
    assert load(server).query(X).scores is not None


def test_other_outputs_beside_the_scores(server: V2Server) -> None:
    def several(x: np.ndarray) -> list[dict[str, Any]]:
        scores = tensor(x.reshape(len(x), -1) @ W, "FP64", "proba")
        scores["data"] = np.reshape(scores["data"], scores["shape"]).tolist()  # nested, as some servers write it
        words = {"name": "words", "datatype": "BYTES", "shape": [len(x)], "data": ["a"] * len(x)}
        return [words, tensor(np.zeros((len(x), 1), int), "INT64", "label"), scores]

    server.answer = several
    assert torch.allclose(load(server).query(X).scores, X.flatten(1) @ torch.from_numpy(W), atol=1e-6)  # type: ignore[arg-type]


def test_probabilities_of_two_classes(server: V2Server) -> None:
    server.answer = lambda x: [tensor(1 / (1 + np.exp(-(x.reshape(len(x), -1) @ W[:, :1]))))]
    scores = load(server, classes=2, outputs="probabilities").query(X).scores
    assert torch.allclose(scores.exp().sum(1), torch.ones(10))  # type: ignore[union-attr]


@pytest.mark.parametrize("column", [True, False])
def test_labels_alone_show_labels_alone(server: V2Server, column: bool) -> None:
    labels = X.flatten(1).numpy() @ W
    shape = (-1, 1) if column else (-1,)
    server.answer = lambda x: [tensor((x.reshape(len(x), -1) @ W).argmax(1).reshape(shape), "INT64", "predict")]
    model = load(server)
    assert isinstance(model, LabelEndpoint)
    assert model.access == Access.LABEL
    assert model.query(X).labels.tolist() == labels.argmax(1).tolist()
    # However much the adversary may see, there is nothing but labels to be seen.
    handle = Metered(model, Access.SCORES, Budget(), len(X))
    assert handle.access == Access.LABEL
    assert handle.query(X).scores is None
    examine(model, X, "logits", nowhere)


def test_labels_out_of_range(server: V2Server) -> None:
    server.answer = lambda x: [tensor(np.array([0, 3] * len(x))[: len(x)], "INT32")]
    with pytest.raises(EndpointError, match=r"label 3 in row 1; expected 0\.\.2"):
        load(server).query(X)


# ── servers that are not there, or not ready ─────────────────────────────────────────────────────────────────────


def test_an_unreachable_endpoint(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v2/models/m"
        with pytest.raises(EndpointError, match="cannot connect to http://127") as caught:
            load_endpoint(source(url), place, QUICK)
    assert caught.value.where == place("source")
    assert caught.value.exit_code == 3
    assert caught.value.remedy


def test_an_unknown_model(server: V2Server) -> None:
    with pytest.raises(EndpointError, match="HTTP 404: unknown model /v2/models/other") as caught:
        load_endpoint(source(server.url.replace("digits", "other")), place, QUICK)
    assert "loaded there under this name" in caught.value.remedy


def test_a_busy_server_is_asked_again(server: V2Server) -> None:
    server.refuse = 2
    model = load(server)
    assert server.requests == 4  # two refusals, the metadata, one answer
    server.refuse = 3
    with pytest.raises(EndpointError, match="HTTP 503: not ready"):
        model.query(X[:1])


def test_other_failures_are_not_repeated(server: V2Server) -> None:
    model = load(server)
    server.status, server.raw, before = 500, b'{"error": "out of\\nmemory"}', server.requests
    with pytest.raises(EndpointError, match="HTTP 500: out of memory"):
        model.query(X[:1])
    assert server.requests == before + 1


@pytest.mark.parametrize("slow", ["delay", "drip"])
def test_slow_answers_end(server: V2Server, slow: str) -> None:
    model = load(server, Patience(answer=0.3, connect=1.0, pauses=()))
    setattr(server, slow, 0.8 if slow == "delay" else 0.1)
    before = server.requests
    with pytest.raises(EndpointError, match=r"did not answer within 0\.3 s"):
        model.query(X[:1])
    assert server.requests == before + 1


def test_a_server_that_hangs_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up() -> None:
            connection, _ = listening.accept()
            connection.recv(1000)
            connection.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v2/models/m"
        with pytest.raises(EndpointError, match="broke off"):
            load_endpoint(source(url), place, QUICK)
        thread.join(2)


# ── answers that are no answers ──────────────────────────────────────────────────────────────────────────────────


def outputs(*listed: Any) -> bytes:
    return json.dumps({"outputs": listed}).encode()


def one(**change: Any) -> bytes:
    return outputs({"name": "s", "datatype": "FP32", "shape": [1, 3], "data": [1.0, 2.0, 3.0]} | change)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "a JSON list, not an object"),
        (b"{}", "without 'outputs'"),
        (b'{"outputs": 3}', "without 'outputs'"),
        (b'{"outputs": []}', "without 'outputs'"),
        (b'{"outputs": [3]}', "no tensor of numbers"),
        (one(datatype="BYTES"), r"no tensor of numbers \(BYTES\)"),
        (one(datatype=7), "no tensor of numbers"),
        (one(shape=None), "without a sound shape"),
        (one(shape=[]), "without a sound shape"),
        (one(shape=[-1, 3]), "without a sound shape"),
        (one(shape=[True, 3]), "without a sound shape"),
        (one(shape=[2**40, 3]), "without a sound shape"),
        (one(shape=[2**30, 2**30]), "with 3 values"),
        (one(data=[1.0, 2.0]), "with 2 values"),
        (one(data=None), "with 1 values"),
        (one(data=[1.0, 2.0, None]), "of another type"),
        (one(data=["1.0", "2.0", "3.0"]), "of another type"),
        (one(data=[True, False, True]), "of another type"),
        (one(data=[[1.0, 2.0], 3.0]), "ragged"),
        (one(data=[1.0, float("nan"), 3.0]), r"NaN or infinity in row 0 of 's'"),
        (one(data=[1.0, 1e999, 3.0]), "NaN or infinity in row 0"),
        (one(shape=[3, 1]), r"answers \[3, 1\] as 's' to 1 inputs"),
        (one(shape=[1, 4], data=[1.0] * 4), r"expected one tensor of scores \[1, 3\]"),
        (one(shape=[1, 3, 1]), "expected one tensor of scores"),
        (one(datatype="INT64", shape=[1], data=[0]), "answered scores before and labels now"),
        (one(datatype="INT64", shape=[1], data=[0.5]), "of another type"),
        (outputs(*[json.loads(one())["outputs"][0]] * 2), "expected one tensor of scores"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_malformed_answers(server: V2Server, raw: bytes, said: str) -> None:
    model = load(server)
    server.raw = raw
    with pytest.raises(EndpointError, match=said) as caught:
        model.query(X[:1])
    assert caught.value.remedy
    assert server.url in caught.value.what


def test_answers_are_bounded(server: V2Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redoubt.models.endpoint.MAX_ANSWER", 10_000)
    model = load(server)
    server.raw = b" " * 20_000 + one()
    with pytest.raises(EndpointError, match="more than 10000 bytes"):
        model.query(X[:1])


def test_compressed_answers_are_refused(server: V2Server) -> None:
    model = load(server)
    server.raw, server.headers = gzip.compress(bytes(10**6)), {"content-encoding": "gzip"}
    with pytest.raises(EndpointError, match="compresses its answer"):
        model.query(X[:1])


@pytest.mark.parametrize("status", [301, 400, 401, 500])
def test_other_answers_carry_what_the_server_says_and_no_more(server: V2Server, status: int) -> None:
    model = load(server)
    server.status, server.raw = status, json.dumps({"error": "no\n" + "x" * 1000, "trace": "inner secret"}).encode()
    server.headers = {"location": "http://127.0.0.1:9/elsewhere", "set-cookie": "token=hidden"}
    with pytest.raises(EndpointError, match=f"HTTP {status}: no x") as caught:
        model.query(X[:1])
    said = str(caught.value)
    assert len(said) < 500
    assert "secret" not in said
    assert "hidden" not in said


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([{"name": "x", "datatype": "FP32", "shape": [-1, 5]}], r"takes inputs of shape \[-1, 5\]"),
        ([{"name": "x", "datatype": "UINT8", "shape": [-1, 1, 2, 2]}], "takes UINT8 inputs"),
        ([{"name": "x", "datatype": "FP32", "shape": [-1]}, {"name": "z"}], "does not declare one input"),
        ({"name": "x"}, "does not declare one input"),
    ],
)
def test_inputs_that_do_not_fit(server: V2Server, inputs: Any, said: str) -> None:
    server.inputs = inputs
    with pytest.raises(ModelError, match=said) as caught:
        load(server)
    assert caught.value.where == place("input", "shape")


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:/v2/models/m",
        "http://host",
        "http://host/v2/models",
        "http://host/v2/models/m/infer",
        "http://host:notaport/v2/models/m",
        "http://[::1/v2/models/m",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(PolicyError) as caught:
        load_endpoint(source(url), place, QUICK)
    assert caught.value.where == place("source")


@pytest.mark.parametrize(
    "url",
    ["http://me:hunter2@host/v2/models/m", "http://host/v2/models/m?token=hunter2", "http://hunter2@:1@x/v2/models/m"],
)
def test_credentials_in_the_url_are_refused_unseen(url: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="carries credentials") as caught:
        load_model(source(url), tmp_path, place)
    assert "hunter2" not in str(caught.value)


def test_the_environment_is_not_believed(server: V2Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert load(server).query(X[:1]).scores is not None


def test_the_digest_tells_url_metadata_and_face(server: V2Server) -> None:
    first = load(server).digest()
    assert first == load(server).digest()
    assert first != load(server, outputs="probabilities").digest()
    server.inputs[0]["name"] = "other"
    assert first != load(server).digest()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OUTPUT = st.fixed_dictionaries(
    {},
    optional={
        "name": JSON,
        "datatype": st.sampled_from(["FP32", "INT64", "BYTES"]) | JSON,
        "shape": st.lists(st.integers(0, 3), max_size=3) | JSON,
        "data": st.lists(st.floats(), max_size=6) | JSON,
    },
)


@given(st.lists(OUTPUT | JSON, max_size=3))
def test_no_answer_raises_anything_else(listed: list[Any]) -> None:
    try:
        found = infer_outputs({"outputs": listed}, 2, "http://host/v2/models/m")
        chosen = scores_or_labels(found, 3, "http://host/v2/models/m")
    except EndpointError:
        return
    assert len(chosen.values) == 2
    assert np.isfinite(chosen.values).all()


@given(st.binary(max_size=50))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    try:
        assert isinstance(parse_json(raw, "http://host"), dict)
    except EndpointError:
        return
