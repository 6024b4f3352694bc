"""scikit-learn estimators as shadow models: of an allow-list, or of the kind that the target itself is."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from redoubt.models.adapter import Adapter
from redoubt.models.extras import needs
from redoubt.models.locate import first_line
from redoubt.models.sklearn_model import SklearnModel
from redoubt.records import ModelError, PolicyError
from redoubt.records.canonical import Json

ESTIMATORS = {
    "AdaBoostClassifier": "sklearn.ensemble",
    "DecisionTreeClassifier": "sklearn.tree",
    "ExtraTreesClassifier": "sklearn.ensemble",
    "GaussianNB": "sklearn.naive_bayes",
    "GradientBoostingClassifier": "sklearn.ensemble",
    "HistGradientBoostingClassifier": "sklearn.ensemble",
    "KNeighborsClassifier": "sklearn.neighbors",
    "LinearDiscriminantAnalysis": "sklearn.discriminant_analysis",
    "LogisticRegression": "sklearn.linear_model",
    "MLPClassifier": "sklearn.neural_network",
    "QuadraticDiscriminantAnalysis": "sklearn.discriminant_analysis",
    "RandomForestClassifier": "sklearn.ensemble",
    "SVC": "sklearn.svm",
}
"""What a policy may name, and where it lives."""


@dataclass(frozen=True)
class SklearnTrainer:
    """Fits copies of an estimator.

    Attributes:
        estimator: not fitted.
        adapter: what stands before and behind it.
    """

    estimator: Any
    adapter: Adapter

    @classmethod
    def named(cls, name: str, parameters: dict[str, Any], adapter: Adapter) -> "SklearnTrainer":
        """Of the allow-list.

        Raises:
            PolicyError: it is not on it, or not built with such parameters.
        """
        if name not in ESTIMATORS:
            raise PolicyError(
                f"no estimator '{name[:60]}' can be trained as a shadow model",
                remedy=f"name one of {', '.join(ESTIMATORS)}",
            )
        with needs("sklearn"):
            kind = getattr(importlib.import_module(ESTIMATORS[name]), name)
        try:
            return cls(kind(**parameters), adapter)
        except TypeError as error:
            raise PolicyError(
                f"{name} is not built with that: {first_line(error)}", remedy="correct `parameters` under shadows"
            ) from error

    def describe(self) -> Json:
        """See `Trainer`."""
        kind = type(self.estimator)
        settings: dict[str, Json] = {
            key: repr(value)[:500] for key, value in sorted(self.estimator.get_params().items())
        }
        name = f"{kind.__module__}.{kind.__name__}"
        return {"kind": "sklearn", "class": name, "settings": settings, "face": self.adapter.describe()}

    def scores(self, x: Tensor, y: Tensor, inside: Tensor, seeds: Sequence[int]) -> Tensor:
        """See `Trainer`."""
        rows, labels = self.adapter.inward(x).flatten(1).numpy().astype(np.float64), y.numpy()
        return torch.stack(
            [self._one(rows[mine], labels[mine], x, seed) for mine, seed in zip(inside.numpy(), seeds, strict=True)]
        )

    def _one(self, rows: Any, labels: Any, x: Tensor, seed: int) -> Tensor:
        from sklearn.base import clone

        if len(np.unique(labels)) < self.adapter.face.classes:
            raise ModelError(
                "a random half of the records lacks a class, so no shadow model knows it",
                remedy="take more records of every class",
            )
        estimator = clone(self.estimator)
        seeded = {key: seed for key in estimator.get_params() if key.rpartition("__")[2] == "random_state"}
        estimator.set_params(**seeded)
        try:
            estimator.fit(rows, labels)
        except (ValueError, TypeError, ArithmeticError, AttributeError) as error:  # of scikit-learn, which raises many
            raise ModelError(
                f"{type(estimator).__name__} cannot be fitted: {first_line(error)}",
                remedy="correct `parameters` under shadows",
            ) from error
        outputs = "probabilities" if hasattr(estimator, "predict_proba") else "logits"
        fitted = SklearnModel(estimator, self.adapter.with_outputs(outputs), "shadow")  # type: ignore[arg-type]
        answer = fitted.query(x)
        if answer.scores is None or not answer.scores.isfinite().all():
            raise ModelError(f"{type(estimator).__name__} gives scores that are not finite", remedy="choose another")
        return answer.scores
