"""scikit-learn classifiers as models: linear ones and perceptrons with gradients, all others by query."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from redoubt.models.adapter import Adapter, face_of, log_of
from redoubt.models.base import Differentiable, Face, Model
from redoubt.models.locate import Locate, first_line, placed
from redoubt.models.sklearn_file import read_skops
from redoubt.models.sklearn_twins import NoTwin, twin_of
from redoubt.models.twin import TOLERANCE, disagreement
from redoubt.records import ModelError, ModelSource, digest
from redoubt.supply.gate import Gate


class SklearnModel(Model):
    """A fitted classifier that can be asked, but not differentiated.

    Scores are the decision function, or the logarithms of `predict_proba` where there is none or where `outputs` is
    `probabilities`.  Class c of the face is the class c of `classes_` if those are the integers 0..K-1, and otherwise
    the one whose text is the face's label c.

    The answer is what `predict` says.  Some estimators say another class there than their scores would (a many-class
    `SVC`, which counts votes); its score is then lifted just above the largest.

    Args:
        estimator: has `classes_`, and `decision_function` or `predict_proba`.
        adapter: face, normalisation, outputs.  Inputs are flattened to `[B, F]`.
        content: digest of the file it came from.
        why_not_differentiable: the reason, as a clause; empty if there is a twin, whose scores and answers agree.

    Raises:
        ModelError: the estimator is no classifier, has other classes or another number of features than the face.
    """

    def __init__(self, estimator: Any, adapter: Adapter, content: str, why_not_differentiable: str = "") -> None:
        super().__init__(adapter.face)
        self._estimator, self._adapter, self._content = estimator, adapter, content
        self.why_not_differentiable = why_not_differentiable
        self.columns = columns_of(estimator, adapter.face)
        self.by_decision = hasattr(estimator, "decision_function") and adapter.outputs == "logits"
        if not self.by_decision and not hasattr(estimator, "predict_proba"):
            raise ModelError(
                f"{type(estimator).__name__} gives no probabilities",
                remedy="write 'outputs: logits'" if hasattr(estimator, "decision_function") else "train another kind",
            )

    @property
    def estimator(self) -> Any:
        """The fitted estimator, for who makes more of its kind."""
        return self._estimator

    def scores_inside(self, inside: Tensor) -> Tensor:
        """Decision function `[B, K]` or `[B]`, or probabilities `[B, K]`, of normalised inputs; columns not ordered."""
        ask = self._estimator.decision_function if self.by_decision else self._estimator.predict_proba
        return torch.from_numpy(np.asarray(self._ask(ask, inside), dtype=np.float64))

    def _scores(self, x: Tensor) -> Tensor:
        if not len(x):
            return torch.empty(0, self.face.classes, device=x.device)
        inside = self._adapter.inward(x.cpu())
        raw = self.scores_inside(inside)
        scores = paired(raw.reshape(-1, 1)) if raw.ndim == 1 else raw
        scores = (scores if self.by_decision else log_of(scores)).float()
        if self.why_not_differentiable:
            said = self._ask(self._estimator.predict, inside)
            answer = torch.from_numpy(np.searchsorted(self._estimator.classes_, said)).unsqueeze(1)
            best = scores.amax(dim=1, keepdim=True)
            above = torch.where(
                scores.argmax(1, keepdim=True) == answer, best, best.nextafter(best.new_tensor(torch.inf))
            )
            scores = scores.scatter(1, answer, above)
        return scores[:, self.columns].to(x.device)

    def _ask(self, verb: Callable[[Any], Any], inside: Tensor) -> Any:
        rows = inside.detach().flatten(1).cpu().numpy().astype(np.float64)
        try:
            return verb(rows)
        except Exception as error:  # the wall to scikit-learn, which raises many kinds
            raise ModelError(
                f"{type(self._estimator).__name__} fails on inputs [{len(rows)}, {rows.shape[1]}]: {first_line(error)}",
                remedy="make the policy's input shape that of the data it was fitted to",
            ) from error

    def digest(self) -> str:
        """Over the file's bytes and the face."""
        return digest({"kind": "sklearn", "content": self._content, "face": self._adapter.describe()})


class DifferentiableSklearnModel(Differentiable):
    """A fitted classifier whose answers are its own and whose logits and gradients are those of a torch twin."""

    def __init__(self, asked: SklearnModel, adapter: Adapter, twin: nn.Module, device: str) -> None:
        super().__init__(adapter.face)
        self._asked, self._adapter = asked, adapter.moved(device)
        self._twin = twin.to(device).eval().requires_grad_(False)
        self._columns = torch.tensor(asked.columns, device=device)

    @property
    def estimator(self) -> Any:
        """The fitted estimator, for who makes more of its kind."""
        return self._asked.estimator

    def logits(self, x: Tensor) -> Tensor:
        """Logits `[B, K]` of `[B, *face.shape]`, differentiable in `x`."""
        raw = self._twin(self._adapter.inward(x).flatten(1).double())
        logits = paired(raw) if raw.shape[1] == 1 else raw
        return logits.index_select(1, self._columns).float().to(x.device)

    def _scores(self, x: Tensor) -> Tensor:
        return self._asked._scores(x)

    def digest(self) -> str:
        """As for `SklearnModel`: the twin follows from the file."""
        return self._asked.digest()


def load_sklearn(source: ModelSource, base: Path, locate: Locate, device: str = "cpu") -> Model:
    """The model that `sklearn:<file.skops>` names, with gradients if it has a faithful twin.

    Raises:
        ModelError: the file is unsafe or unsound, or not a classifier of the declared face.
    """
    with placed(locate, "source"):
        estimator, content = read_skops(base / source.source.removeprefix("sklearn:"), Gate.of(source, base))
    features, face = getattr(estimator, "n_features_in_", None), face_of(source)
    if features is not None and features != int(np.prod(face.shape)):
        raise ModelError(
            f"the model was fitted to {features} features, the policy's shape {list(face.shape)} has "
            f"{int(np.prod(face.shape))}",
            locate("input", "shape"),
            remedy=f"write shape: [{features}], or an image shape with as many pixels",
        )
    adapter = Adapter.of(source)
    with placed(locate, "classes"):
        columns_of(estimator, face)
    with placed(locate, "outputs"):
        asked = SklearnModel(estimator, adapter, content)
    try:
        twin = twin_of(estimator)
    except NoTwin as reason:
        asked.why_not_differentiable = str(reason)
        return asked
    worst = _disagreement(asked, adapter, twin)
    if worst > TOLERANCE:
        asked.why_not_differentiable = (
            f"the torch twin of {type(estimator).__name__} differs from it by {worst:.2g} of the largest score "
            f"(allowed: {TOLERANCE:g}), so its gradients cannot be trusted"
        )
        return asked
    return DifferentiableSklearnModel(asked, adapter, twin, device)


def columns_of(estimator: Any, face: Face) -> list[int]:
    """For each class of the face, the estimator's column.

    Raises:
        ModelError: the estimator's classes are not those of the face.
    """
    classes = getattr(estimator, "classes_", None)
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:
        raise ModelError(f"{type(estimator).__name__} is not a fitted classifier", remedy="give a classifier")
    told = ", ".join(str(c) for c in classes[:8])
    if len(classes) != face.classes:
        raise ModelError(
            f"the model knows {len(classes)} classes ({told}), the policy says {face.classes}",
            remedy=f"write classes: {len(classes)}",
        )
    if classes.dtype.kind in "iufb" and classes.tolist() == list(range(face.classes)):
        return list(range(face.classes))
    names = [str(c) for c in classes]
    if sorted(names) == sorted(face.labels):
        return [names.index(label) for label in face.labels]
    raise ModelError(
        f"the model's classes are {told}, not the integers 0..{face.classes - 1}",
        remedy=f"write labels: [{', '.join(names[:8])}] in the policy, in the order in which the data count them, "
        "or train on labels 0, 1, 2, ...",
    )


def paired(z: Tensor) -> Tensor:
    """Logits `[B, 2]` from the one number `[B, 1]` of a binary classifier."""
    return torch.cat([-z / 2, z / 2], dim=1)


def _disagreement(asked: SklearnModel, adapter: Adapter, twin: nn.Module) -> float:
    def original(x: Tensor) -> Tensor:
        raw = asked.scores_inside(adapter.inward(x))
        return raw if raw.ndim == 2 else paired(raw.reshape(-1, 1))

    def mine(x: Tensor) -> Tensor:
        raw = twin(adapter.inward(x).flatten(1).double())
        logits = paired(raw) if raw.shape[1] == 1 else raw
        return logits if asked.by_decision else logits.softmax(dim=1)

    return disagreement(mine, original, adapter.face)
