"""Faults of a model's answers that are found before anything is attacked."""

import pytest
import torch
from torch import Tensor, nn

from redoubt.models import CallableModel, Face, LabelEndpoint, TorchModel, examine, nowhere, unstable_share
from redoubt.models.adapter import Outputs
from redoubt.records import Access, ModelError, Place

FACE = Face((4,), 0.0, 1.0, 3)
X = torch.rand(32, 4, generator=torch.Generator().manual_seed(0))
WEIGHT = torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.0, -1.0], [3.0, 0.0, 1.0], [-1.0, 1.0, 0.0]])


def model(function: object, outputs: Outputs = "logits", classes: int = 3) -> CallableModel:
    return CallableModel(function, Face((4,), 0.0, 1.0, classes), outputs=outputs, takes="torch")  # type: ignore[arg-type]


def good(x: Tensor) -> Tensor:
    return x @ WEIGHT


def bad_row(value: float) -> object:
    def answer(x: Tensor) -> Tensor:
        scores = good(x)
        scores[5:7, 1] = value
        return scores

    return answer


def test_good_models_pass() -> None:
    examine(model(good), X, "logits", nowhere)
    examine(model(lambda x: good(x).softmax(1), "probabilities"), X, "probabilities", nowhere)
    examine(model(lambda x: good(x)[:, 0], classes=2), X, "logits", nowhere)
    examine(model(lambda x: good(x)[:, 0].sigmoid(), "probabilities", 2), X, "probabilities", nowhere)


@pytest.mark.parametrize(
    ("built", "outputs", "said", "key"),
    [
        (model(bad_row(float("nan"))), "logits", r"NaN in row 5 of the first batch \(2 of 32 rows", "source"),
        (model(bad_row(float("inf"))), "logits", "infinite in row 5", "source"),
        (model(lambda x: good(x)[:, :2]), "logits", r"answers \[32, 2\] to 32 inputs", "classes"),
        (model(lambda x: good(x)[1:]), "logits", r"answers \[31, 3\] to 32 inputs", "classes"),
        (model(lambda x: good(x).softmax(1)), "logits", "probabilities where logits were meant", "outputs"),
        (model(lambda x: good(x)[:, 0].sigmoid(), classes=2), "logits", "after a sigmoid", "outputs"),
        (
            model(lambda x: good(x).softmax(1)[:, :2], classes=2, outputs="probabilities"),
            "probabilities",
            "sum to",
            "outputs",
        ),
        (model(good, "probabilities"), "probabilities", "row 0 sum to", "outputs"),
        (model(lambda x: torch.ones(len(x), 1) * torch.tensor([1.0, 2.0, -1.0])), "logits", "same scores", "source"),
    ],
)
def test_faulty_models_are_refused(built: CallableModel, outputs: str, said: str, key: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        examine(built, X, outputs, lambda *key: Place(".".join(key), 2))
    assert caught.value.where == Place(key, 2)
    assert caught.value.remedy


def test_a_model_that_writes_into_its_inputs() -> None:
    class Spoils(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mul_(0.5) @ WEIGHT

    with pytest.raises(ModelError, match="changes its inputs in place"):
        examine(TorchModel(Spoils(), FACE), X.clone(), "logits", nowhere)


def test_one_leaf_of_a_tree_is_no_constant_model() -> None:
    """A sorted batch may lie in one leaf; the random inputs do not."""

    def tree(x: Tensor) -> Tensor:
        return torch.where(x[:, :1] < 0.1, torch.tensor([5.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 5.0]))

    leaf = X.clone()
    leaf[:, 0] = 0.05
    examine(model(tree), leaf, "logits", nowhere)


def test_equal_inputs_may_have_equal_answers() -> None:
    examine(model(good), X[:1].repeat(8, 1), "logits", nowhere)
    examine(model(good), X[:1], "logits", nowhere)


def test_labels_alone_are_no_softmax() -> None:
    class Labels(CallableModel):
        access = LabelEndpoint.access

    labels = Labels(lambda x: nn.functional.one_hot(good(x).argmax(1), 3).float(), FACE, takes="torch")
    assert labels.access == Access.LABEL
    examine(labels, X, "logits", nowhere)


def test_unstable_share_counts_rows() -> None:
    assert unstable_share(model(good), X) == 0.0
    calls = iter(range(100))

    def wanders(x: Tensor) -> Tensor:
        scores = good(x)
        scores[:8] *= 1 + 0.01 * next(calls)
        scores[8:16] *= 1 + 1e-5 * next(calls)
        return scores

    assert unstable_share(model(wanders), X) == 0.25
    noisy = TorchModel(nn.Sequential(nn.Linear(4, 3), AlwaysDrops()), FACE)
    assert unstable_share(noisy, X) > 0.5
    assert unstable_share(model(good), X[:0]) == 0.0


class AlwaysDrops(nn.Module):
    """Dropout that stays on in evaluation mode."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5, training=True)
