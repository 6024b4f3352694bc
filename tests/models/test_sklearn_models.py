"""scikit-learn models in skops files: twins, queries, and files that nobody should trust."""

import io
import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from redoubt.models import (
    Differentiable,
    DifferentiableSklearnModel,
    SklearnModel,
    as_differentiable,
    load_model,
    nowhere,
)
from redoubt.models.sklearn_file import read_skops
from redoubt.records import Access, InputFace, ModelError, ModelSource, Place

IRIS, KIND = load_iris(return_X_y=True)
TWO = KIND < 2
X = torch.from_numpy(np.random.default_rng(0).uniform(0, 8, (40, 4))).float()
FEW = {"max_iter": 60, "random_state": 0}


def source(classes: int = 3, shape: tuple[int, ...] = (4,), **more: Any) -> ModelSource:
    return ModelSource(
        source="sklearn:m.skops", input=InputFace(shape=shape, range=(0.0, 8.0)), classes=classes, **more
    )


def place(*key: str) -> Place:
    return Place("policy.yaml:" + ".".join(key), 4)


def fit(estimator: Any, binary: bool = False) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(IRIS[TWO] if binary else IRIS, KIND[TWO] if binary else KIND)


def load(folder: Path, estimator: Any, given: ModelSource | None = None) -> Any:
    skops.io.dump(estimator, folder / "m.skops")
    return load_model(given or source(len(estimator.classes_)), folder, place)


LINEAR = [
    LogisticRegression(max_iter=300),
    LinearSVC(),
    SGDClassifier(random_state=0),
    RidgeClassifier(),
    Perceptron(),
    LinearDiscriminantAnalysis(),
    *(MLPClassifier((6, 5), activation=a, **FEW) for a in ("identity", "logistic", "tanh", "relu")),
    make_pipeline(StandardScaler(), LogisticRegression()),
    make_pipeline(StandardScaler(with_mean=False), LinearSVC()),
    make_pipeline(StandardScaler(with_std=False), LinearSVC()),
    make_pipeline(MinMaxScaler((-1, 2), clip=True), MLPClassifier((6,), **FEW)),
    make_pipeline(MaxAbsScaler(), MinMaxScaler(), RidgeClassifier()),
    make_pipeline(RobustScaler(), "passthrough", LogisticRegression()),
]


@pytest.mark.parametrize("binary", [False, True], ids=["three", "two"])
@pytest.mark.parametrize("estimator", LINEAR, ids=lambda e: str(e)[:40].replace("\n", ""))
def test_twins_have_the_scores_and_true_gradients(tmp_path: Path, estimator: Any, binary: bool) -> None:
    estimator = fit(estimator, binary)
    model = load(tmp_path, estimator)
    assert isinstance(model, DifferentiableSklearnModel)
    assert model.access == Access.GRADIENTS
    logits = model.logits(X)
    assert np.array_equal(model.query(X).labels.numpy(), estimator.predict(X.numpy().astype(float)))
    assert torch.equal(logits.argmax(1), model.query(X).labels)
    if hasattr(estimator, "decision_function"):
        assert torch.allclose(logits, model.query(X).scores, rtol=1e-4, atol=1e-4)
    else:
        assert torch.allclose(logits.softmax(1), model.query(X).scores.exp(), atol=1e-5)

    x = X.double().requires_grad_()
    (gradient,) = torch.autograd.grad(model.logits(x)[:, 1].sum(), x)
    step, h = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)), 1e-3

    def asked(at: torch.Tensor) -> np.ndarray:
        scores = model.query(at).scores.double().numpy()
        # Perceptrons say log-probabilities, which are their logits less one number per row.
        return scores[:, 1] + (0 if hasattr(estimator, "decision_function") else model.logits(at).logsumexp(1).numpy())

    with torch.no_grad():
        numeric = float((asked(X + h * step) - asked(X - h * step)).sum() / (2 * h))
    assert float((gradient * step).sum()) == pytest.approx(numeric, rel=0.02, abs=0.05)
    assert gradient.abs().max() > 0


QUERIED = [
    DecisionTreeClassifier(random_state=0),
    RandomForestClassifier(5, random_state=0),
    GradientBoostingClassifier(n_estimators=3),
    HistGradientBoostingClassifier(max_iter=3),
    AdaBoostClassifier(n_estimators=3),
    BaggingClassifier(n_estimators=2, max_features=2, random_state=0),
    KNeighborsClassifier(algorithm="kd_tree"),
    KNeighborsClassifier(algorithm="ball_tree", metric="manhattan"),
    KNeighborsClassifier(algorithm="brute"),
    SVC(),
    GaussianNB(),
    StackingClassifier([("a", SVC()), ("b", GaussianNB())], final_estimator=RandomForestClassifier(3), cv=2),
    make_pipeline(StandardScaler(), SVC()),
    make_pipeline(Normalizer(), LogisticRegression()),
]


@pytest.mark.parametrize("binary", [False, True], ids=["three", "two"])
@pytest.mark.parametrize("estimator", QUERIED, ids=lambda e: str(e)[:40].replace("\n", ""))
def test_others_are_asked(tmp_path: Path, estimator: Any, binary: bool) -> None:
    estimator = fit(estimator, binary)
    model = load(tmp_path, estimator)
    assert isinstance(model, SklearnModel)
    assert model.access == Access.SCORES
    rows = X.numpy().astype(float)
    answer = model.query(X)
    assert answer.scores.isfinite().all()
    assert np.array_equal(answer.labels.numpy(), estimator.predict(rows))
    if not hasattr(estimator, "decision_function"):
        assert np.allclose(answer.scores.exp().numpy(), estimator.predict_proba(rows), atol=1e-6)
    with pytest.raises(ModelError, match="has no gradient"):
        as_differentiable(model)
    assert model.query(X[:0]).labels.shape == (0,)


@pytest.mark.parametrize("estimator", [LogisticRegression(max_iter=300), MLPClassifier((6,), **FEW)], ids=["lr", "mlp"])
@pytest.mark.parametrize("binary", [False, True])
def test_declared_probabilities(tmp_path: Path, estimator: Any, binary: bool) -> None:
    estimator = fit(estimator, binary)
    model = load(tmp_path, estimator, source(2 if binary else 3, outputs="probabilities"))
    expected = estimator.predict_proba(X.numpy().astype(float))
    assert np.allclose(model.query(X).scores.exp().numpy(), expected, atol=1e-5)
    assert np.allclose(model.logits(X).softmax(1).numpy(), expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_an_image_face_is_flattened(tmp_path: Path) -> None:
    x, y = load_digits(return_X_y=True)
    estimator = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5)).fit(x, y)
    skops.io.dump(estimator, tmp_path / "m.skops")
    given = ModelSource(source="sklearn:m.skops", input=InputFace(shape=(1, 8, 8), range=(0.0, 16.0)), classes=10)
    model = load_model(given, tmp_path, nowhere)
    assert isinstance(model, Differentiable)
    images = torch.from_numpy(x[:50]).float().reshape(50, 1, 8, 8)
    assert np.array_equal(model.query(images).labels.numpy(), estimator.predict(x[:50]))
    assert model.logits(images).shape == (50, 10)


def test_classes_by_name(tmp_path: Path) -> None:
    names = np.array(["setosa", "versicolor", "virginica"])
    estimator = LogisticRegression(max_iter=300).fit(IRIS, names[KIND])
    labels = ("virginica", "setosa", "versicolor")
    model = load(tmp_path, estimator, source(labels=labels))
    said = [labels[i] for i in model.query(X).labels.tolist()]
    assert said == estimator.predict(X.numpy().astype(float)).tolist()
    assert torch.equal(model.logits(X).argmax(1), model.query(X).labels)
    with pytest.raises(
        ModelError, match=r"classes are setosa, versicolor, virginica, not the integers 0\.\.2"
    ) as caught:
        load(tmp_path, estimator)
    assert caught.value.where == place("classes")
    assert "labels: [setosa" in caught.value.remedy


def test_classes_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="knows 3 classes"):
        load(tmp_path, fit(LogisticRegression(max_iter=300)), source(5))
    with pytest.raises(ModelError, match=r"1, 2, 3, not the integers 0\.\.2"):
        load(tmp_path, LogisticRegression(max_iter=300).fit(IRIS, KIND + 1))
    with pytest.raises(ModelError, match="KMeans is not a fitted classifier"):
        load(tmp_path, KMeans(2).fit(IRIS), source())
    with pytest.raises(ModelError, match="fitted to 4 features") as caught:
        load(tmp_path, fit(GaussianNB()), source(shape=(5,)))
    assert caught.value.where == place("input", "shape")
    with pytest.raises(ModelError, match="LinearSVC gives no probabilities") as caught:
        load(tmp_path, fit(LinearSVC()), source(outputs="probabilities"))
    assert caught.value.where == place("outputs")


def test_the_digest_is_of_the_file_and_the_face(tmp_path: Path) -> None:
    first = load(tmp_path, fit(LogisticRegression(max_iter=300))).digest()
    assert first == load_model(source(), tmp_path, nowhere).digest()
    assert first != load_model(source(labels=("a", "b", "c")[:3], outputs="probabilities"), tmp_path, nowhere).digest()
    assert first != load(tmp_path, fit(LogisticRegression(C=9.0, max_iter=300))).digest()


def refused(folder: Path, said: str) -> ModelError:
    with pytest.raises(ModelError, match=said) as caught:
        load_model(source(), folder, place)
    assert caught.value.where == place("source")
    assert caught.value.remedy
    return caught.value


class Stranger(LogisticRegression):
    """A type of somebody's own."""

    made = 0

    def __setstate__(self, state: Any) -> None:
        type(self).made += 1
        super().__setstate__(state)


def test_types_outside_the_list_are_named_and_not_built(tmp_path: Path) -> None:
    skops.io.dump(fit(Stranger(max_iter=300)), tmp_path / "m.skops")
    error = refused(tmp_path, "Stranger, which is not on the allow-list")
    assert "nothing in it was executed" in error.what
    assert Stranger.made == 0
    # A function as a transformer: the classic way to run a command.
    skops.io.dump(fit_anyway(FunctionTransformer(os.system)), tmp_path / "m.skops")
    refused(tmp_path, "posix.system|os.system")


def fit_anyway(step: Any) -> Any:
    pipeline = make_pipeline(FunctionTransformer(), LogisticRegression(max_iter=300)).fit(IRIS, KIND)
    pipeline.steps[0] = ("functiontransformer", step)
    return pipeline


def test_pickles_and_other_files(tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (marker,))

    (tmp_path / "m.skops").write_bytes(pickle.dumps(Trap()))
    refused(tmp_path, r"m.skops is a pickle, not a skops file \(it .*; nothing in it was executed")
    assert not marker.exists()
    for raw in (b"", b"words"):
        (tmp_path / "m.skops").write_bytes(raw)
        refused(tmp_path, "not a (sound )?skops file")
    with zipfile.ZipFile(tmp_path / "m.skops", "w") as archive:
        archive.writestr("words", "x")
    refused(tmp_path, "a zip archive, not a skops file")
    with zipfile.ZipFile(tmp_path / "m.skops", "w") as archive:
        archive.writestr("schema.json", '{"__class__": 3}')
    refused(tmp_path, "a node without loader, module and class")
    (tmp_path / "m.skops").unlink()
    refused(tmp_path, "cannot read")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redoubt.models.sklearn_file.MAX_BYTES", 10**6)
    with zipfile.ZipFile(tmp_path / "m.skops", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", "{}" + " " * 2 * 10**6)
    refused(tmp_path, "unpacks to more than")


def forge(path: Path, change: Any) -> None:
    """Rewrite every array in a skops file for which `change` returns another."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            raw = old.read(name)
            if name.endswith(".npy"):
                array = change(np.load(io.BytesIO(raw), allow_pickle=False))
                buffer = io.BytesIO()
                np.save(buffer, array)
                raw = buffer.getvalue()
            new.writestr(name, raw)
    path.write_bytes(out.getvalue())


@pytest.mark.parametrize(
    ("estimator", "field", "value"),
    [
        (DecisionTreeClassifier(), "left_child", 10**6),
        (DecisionTreeClassifier(), "right_child", 0),
        (DecisionTreeClassifier(), "left_child", -7),
        (DecisionTreeClassifier(), "feature", 4),
        (DecisionTreeClassifier(), "feature", -1),
        (RandomForestClassifier(2), "left_child", 10**6),
        (make_pipeline(StandardScaler(), RandomForestClassifier(2)), "feature", 4),
        (GradientBoostingClassifier(n_estimators=2), "right_child", 10**6),
        (HistGradientBoostingClassifier(max_iter=2), "left", 10**6),
        (HistGradientBoostingClassifier(max_iter=2), "feature_idx", 4),
        (HistGradientBoostingClassifier(max_iter=2), "is_categorical", 1),
    ],
    ids=str,
)
def test_trees_that_lead_outside_are_refused(tmp_path: Path, estimator: Any, field: str, value: int) -> None:
    """Compiled code follows these links without looking; a forged one reads foreign memory, or never ends."""
    skops.io.dump(fit(estimator), tmp_path / "m.skops")
    read_skops(tmp_path / "m.skops")

    def change(array: np.ndarray) -> np.ndarray:
        if array.dtype.names and field in array.dtype.names:
            array[field][0] = value
        return array

    forge(tmp_path / "m.skops", change)
    refused(tmp_path, "links outside it")


def test_a_forest_is_not_believed_about_its_trees_features(tmp_path: Path) -> None:
    """A tree may claim more features than its forest hands it."""
    skops.io.dump(fit(RandomForestClassifier(2)), tmp_path / "m.skops")
    forest, _ = read_skops(tmp_path / "m.skops")
    for tree in forest.estimators_:
        tree.n_features_in_ = 1000
    skops.io.dump(forest, tmp_path / "m.skops")

    def change(array: np.ndarray) -> np.ndarray:
        if array.dtype.names and "feature" in array.dtype.names:
            array["feature"][0] = 900
        return array

    forge(tmp_path / "m.skops", change)
    refused(tmp_path, "links outside it")
