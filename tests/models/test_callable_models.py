"""Python callables as models."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from redoubt.models import CallableModel, Face, as_differentiable, load_model, nowhere
from redoubt.records import Access, InputFace, ModelError, ModelSource, Place

FACE = Face((2,), 0.0, 1.0, 3)
MODULE = """
import numpy as np

WEIGHTS = np.array([[1.0, 0.0, -1.0], [0.0, 2.0, 0.0]])

def scores(x):
    return x @ WEIGHTS

def binary(x):
    return x[:, 0] - x[:, 1]

def labels(x):
    return np.zeros(len(x), dtype=int)
"""


def source(name: str, classes: int = 3) -> ModelSource:
    return ModelSource(source=name, input=InputFace(shape=(2,), range=(0.0, 1.0)), classes=classes)


def test_a_numpy_callable_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(MODULE)
    model = load_model(source("python:plain:scores"), tmp_path, nowhere)
    answer = model.query(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert answer.labels.tolist() == [0, 1]
    assert model.access == Access.SCORES
    two = load_model(source("python:plain:binary", 2), tmp_path, nowhere).query(torch.tensor([[1.0, 0.0]]))
    assert two.scores.tolist() == [[-0.5, 0.5]]  # type: ignore[union-attr]


def torch_scores(x: Tensor) -> Tensor:
    assert isinstance(x, Tensor)
    return x.sum(1, keepdim=True) * torch.tensor([1.0, 2.0, 3.0])


def test_an_annotation_asks_for_tensors() -> None:
    assert CallableModel(torch_scores, FACE).query(torch.rand(4, 2)).labels.tolist() == [2] * 4
    assert CallableModel(lambda x: torch_scores(x), FACE, takes="torch").query(torch.rand(4, 2)).labels.shape == (4,)


def test_normalisation_and_probabilities() -> None:
    def softmax(x: np.ndarray) -> np.ndarray:
        assert x.max() <= 0
        return np.exp(x[:, [0, 0, 1]]) / np.exp(x[:, [0, 0, 1]]).sum(1, keepdims=True)

    scores = CallableModel(softmax, FACE, mean=[1.0], outputs="probabilities").query(torch.rand(5, 2)).scores
    assert torch.allclose(scores.exp().sum(1), torch.ones(5))  # type: ignore[union-attr]


def test_a_callable_that_works_in_place_does_not_change_what_was_asked() -> None:
    def spoil(x: np.ndarray) -> np.ndarray:
        x *= 0
        return np.zeros((len(x), 3))

    x = torch.rand(4, 2)
    before = x.clone()
    CallableModel(spoil, FACE).query(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: 1 / 0, "ZeroDivisionError"),
        (lambda x: [["a", "b", "c"]] * len(x), "not numbers"),
        (lambda x: [[1.0], [1.0, 2.0]], "fails on a batch"),
        (lambda x: np.zeros((len(x), 4)), r"answers \[2, 4\] to 2 inputs"),
        (lambda x: np.zeros((len(x) + 1, 3)), r"answers \[3, 3\] to 2 inputs"),
        (lambda x: np.zeros(len(x)), r"answers \[2\] to 2 inputs"),
        (lambda x: np.zeros((len(x), 3), dtype=int), "scores are floats"),
    ],
)
def test_answers_that_are_no_scores(function: object, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        CallableModel(function, FACE).query(torch.rand(2, 2))  # type: ignore[arg-type]


def test_faults_found_at_loading_have_a_place(tmp_path: Path) -> None:
    (tmp_path / "plain2.py").write_text(MODULE)
    for name, classes, key in (("labels", 3, "source"), ("scores", 4, "classes"), ("gone", 3, "source")):
        with pytest.raises(ModelError) as caught:
            load_model(source(f"python:plain2:{name}", classes), tmp_path, lambda *key: Place(".".join(key), 1))
        assert caught.value.where == Place(key, 1)


def test_the_digest_follows_the_source_text(tmp_path: Path) -> None:
    (tmp_path / "text_a.py").write_text(MODULE)
    first = load_model(source("python:text_a:scores"), tmp_path, nowhere).digest()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "text_a.py").write_text(MODULE.replace("2.0", "3.0"))
    assert first != load_model(source("python:text_a:scores"), tmp_path / "other", nowhere).digest()
    assert CallableModel(np.sin, FACE).digest() != CallableModel(np.cos, FACE).digest()


def test_there_are_no_gradients() -> None:
    with pytest.raises(ModelError, match="CallableModel can only be asked"):
        as_differentiable(CallableModel(torch_scores, FACE))
