"""One policy, every kind of model: the verdict needs no more than what the model can show."""

import numpy as np
import pytest
import skops.io
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from digits import QUICK
from planted import Reader, templates
from redoubt.assess import assess
from redoubt.policy import read_policy
from redoubt.records import EndpointError, SignName
from v2_server import V2Server, tensor

NOISE = """\
  - id: noise
    game: evasion
    adversary: {adversary}
    within: {{norm: linf, radius: 0.12}}
    require: robust_accuracy >= 0.3"""


@pytest.fixture
def judged(write, tmp_path):
    """Assess the digit policy with another source, against that adversary."""

    def make(source, adversary, suite=QUICK):
        path = write(requirements=NOISE.format(adversary=adversary), take=40)
        text = path.read_text().replace("torch:planted:reader", source).replace("  weights: reader.safetensors\n", "")
        path.write_text(text)
        return assess(read_policy(path), tmp_path / "evidence", suite=suite).requirements[0]

    return make


def played(requirement):
    return {outcome.strategy for outcome in requirement.outcomes}


def trained(kind):
    x, y = load_digits(return_X_y=True)
    return kind.fit(x / 16, y)


def test_onnx_with_gradients_by_conversion(judged, tmp_path, reader_weights):
    model = Reader()
    model.load_state_dict(load_file(reader_weights))
    torch.onnx.export(
        model,
        (torch.zeros(1, 1, 8, 8),),
        tmp_path / "reader.onnx",
        input_names=["x"],
        dynamic_axes={"x": {0: "batch"}},
        dynamo=False,
    )
    found = judged("onnx:reader.onnx", "insider")
    assert "apgd-ce" in played(found)
    assert found.work.backwards > 0
    assert found.measures[2].successes > 0


def test_sklearn_linear_model_with_gradients(judged, tmp_path):
    skops.io.dump(trained(LogisticRegression(max_iter=200)), tmp_path / "model.skops")
    found = judged("sklearn:model.skops", "insider")
    assert "apgd-dlr" in played(found)
    assert found.measures[2].value > 0.3


def test_sklearn_forest_by_query(judged, tmp_path):
    skops.io.dump(trained(RandomForestClassifier(20, max_depth=8, random_state=0)), tmp_path / "model.skops")
    found = judged("sklearn:model.skops", "insider")
    assert played(found) == {"square", "random"}
    assert found.work.backwards == 0
    assert found.measures[2].successes > 0
    (sign,) = [sign for sign in found.signs if sign.name == SignName.GRADIENTS_OUT_OF_REACH]
    assert "RandomForestClassifier" in sign.explanation


def test_any_callable_by_query(judged):
    found = judged("python:planted:templates", "customer")
    assert played(found) == {"square", "random"}
    assert found.measures[2].successes > 0


def test_endpoint_by_query_and_one_that_dies_is_no_verdict(judged, tmp_path):
    server = V2Server(lambda x: [tensor(templates(x).astype(np.float32))], [-1, 1, 8, 8])
    with server.running():
        found = judged(server.url, "customer")
    assert played(found) == {"square", "random"}
    assert found.measures[2].successes > 0

    calls = []

    def dies(x):
        calls.append(len(x))
        if len(calls) == 30:
            server.status = 500
        return [tensor(templates(x).astype(np.float32))]

    server = V2Server(dies, [-1, 1, 8, 8])
    with server.running(), pytest.raises(EndpointError):
        judged(server.url, "customer")
