"""Torch factories and safetensors weights."""

import pickle
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from redoubt.models import Face, TorchModel, load_model, nowhere
from redoubt.models.files import foreign_kind
from redoubt.records import InputFace, ModelError, ModelSource, Place, PolicyError, RedoubtError

FACTORY = """
import torch
from torch import nn
from parts import width

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, width)
        self.last = nn.Linear(width, 3)

    def forward(self, x):
        return self.last(self.first(x.flatten(1)).relu())

def build():
    return Net()

def fails():
    raise OSError("no such thing")

def needs(depth):
    return Net()

def number():
    return 7

def softmax():
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Softmax(1))

def two():
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 1))

value = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shapes.py").write_text(FACTORY)
    (tmp_path / "parts.py").write_text("width = 5\n")
    return tmp_path


def source(name: str = "torch:shapes:build", weights: str | None = None, **more: object) -> ModelSource:
    face = InputFace(shape=(1, 2, 2), range=(0.0, 1.0), **{k: more.pop(k) for k in ("mean", "std") if k in more})
    return ModelSource(source=name, weights=weights, input=face, **({"classes": 3} | more))


def place(*key: str) -> Place:
    return Place("policy.yaml:" + ".".join(key), 4)


def refused(given: ModelSource, base: Path, said: str) -> RedoubtError:
    with pytest.raises(RedoubtError, match=said) as caught:
        load_model(given, base, place)
    assert caught.value.remedy
    assert caught.value.exit_code == 3
    return caught.value


def test_weights_are_loaded_and_frozen(folder: Path) -> None:
    before = list(sys.path)
    torch.manual_seed(5)
    net = nn.Sequential()
    net.first, net.last = nn.Linear(4, 5), nn.Linear(5, 3)  # type: ignore[assignment]
    save_file(net.state_dict(), folder / "w.safetensors")
    model = load_model(source(weights="w.safetensors"), folder, nowhere)
    assert isinstance(model, TorchModel)
    assert sys.path == before
    assert not model.module.training
    assert not any(p.requires_grad for p in model.module.parameters())
    x = torch.rand(6, 1, 2, 2, requires_grad=True)
    expected = net.last(net.first(x.flatten(1)).relu())  # type: ignore[operator]
    assert torch.allclose(model.logits(x), expected)
    (gradient,) = torch.autograd.grad(model.logits(x)[:, 0].sum(), x)
    (theirs,) = torch.autograd.grad(expected[:, 0].sum(), x)
    assert torch.allclose(gradient, theirs)
    assert torch.equal(model.query(x).labels, expected.argmax(1))


def test_normalisation_stands_behind_the_face() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    face = Face((3, 2, 2), 0.0, 255.0, 2)
    model = TorchModel(module, face, mean=[1.0, 2.0, 3.0], std=[10.0, 20.0, 30.0])
    x = torch.rand(4, 3, 2, 2) * 255
    shift, scale = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1), torch.tensor([10.0, 20.0, 30.0]).view(3, 1, 1)
    assert torch.allclose(model.logits(x), module((x - shift) / scale))
    assert torch.allclose(TorchModel(module, face, std=[5.0]).logits(x), module(x / 5))


def test_probabilities_become_logits_with_gradients() -> None:
    layer = nn.Linear(4, 3)
    face = Face((4,), 0.0, 1.0, 3)
    model = TorchModel(nn.Sequential(layer, nn.Softmax(1)), face, outputs="probabilities")
    x = torch.rand(5, 4)
    assert torch.allclose(model.logits(x), layer(x).log_softmax(1), atol=1e-5)
    sure = TorchModel(nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), face, outputs="probabilities")
    sure.module[0].weight.data.mul_(1e4)  # type: ignore[union-attr, operator]
    assert sure.logits(x).isfinite().all()


@pytest.mark.parametrize("squeezed", [False, True])
def test_one_number_for_two_classes(squeezed: bool) -> None:
    layer = nn.Linear(4, 1)
    end = [nn.Flatten(0)] if squeezed else []
    face = Face((4,), 0.0, 1.0, 2)
    x = torch.rand(7, 4)
    z = layer(x).reshape(-1)
    logits = TorchModel(nn.Sequential(layer, *end), face).logits(x)
    assert torch.allclose(logits, torch.stack([-z / 2, z / 2], 1))
    log_p = TorchModel(nn.Sequential(layer, nn.Sigmoid(), *end), face, outputs="probabilities").logits(x)
    assert torch.allclose(log_p.softmax(1), logits.softmax(1), atol=1e-6)


def test_a_double_module_takes_float_inputs() -> None:
    model = TorchModel(nn.Linear(4, 3).double(), Face((4,), 0.0, 1.0, 3))
    assert model.query(torch.rand(2, 4)).scores.dtype == torch.float32  # type: ignore[union-attr]


def test_the_digest_tells_weights_source_and_face(folder: Path) -> None:
    def digest(**more: object) -> str:
        return load_model(source(**more), folder, nowhere).digest()  # type: ignore[arg-type]

    first = digest()
    assert first == digest()  # without a weights file too: the factory's random numbers are seeded
    assert first != digest(mean=(0.5,))
    torch.manual_seed(1)
    weights = {"first.weight": torch.rand(5, 4), "first.bias": torch.rand(5), "last.bias": torch.rand(3)}
    save_file(weights | {"last.weight": torch.rand(3, 5)}, folder / "w.safetensors")
    assert first != digest(weights="w.safetensors")
    (folder / "shapes.py").write_text(FACTORY.replace(".relu()", ".tanh()"))
    sys.modules.pop("shapes")
    assert first != digest()


def test_two_folders_with_a_module_of_one_name(tmp_path: Path) -> None:
    for name, classes in (("one", 3), ("two", 4)):
        (tmp_path / name).mkdir()
        text = f"from torch import nn\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(4, {classes}))\n"
        (tmp_path / name / "twin_named.py").write_text(text)
    for name, classes in (("one", 3), ("two", 4), ("one", 3)):
        model = load_model(source("torch:twin_named:build", classes=classes), tmp_path / name, nowhere)
        assert model.query(torch.rand(1, 1, 2, 2)).scores.shape == (1, classes)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("given", "said", "key"),
    [
        (source("torch:nowhere_at_all:build"), "no module 'nowhere_at_all'", "source"),
        (source("torch:shapes:missing"), "has no 'missing'", "source"),
        (source("torch:shapes:value"), "cannot call, 'value'", "source"),
        (source("torch:shapes:fails"), "OSError: no such thing", "source"),
        (source("torch:shapes:needs"), "factory shapes:needs fails", "source"),
        (source("torch:shapes:number"), "returns a int, not a torch.nn.Module", "source"),
        (source("torch:shapes:build", classes=4), r"answers \[2, 3\] to 2 inputs; expected \[2, 4\]", "classes"),
        (source("torch:shapes:build", weights="gone.safetensors"), "cannot read .*gone", "weights"),
        (source("onnx:shapes.onnx", weights="w.safetensors"), "'weights' belongs to torch", "weights"),
    ],
)
def test_what_does_not_load_is_said_with_its_place(folder: Path, given: ModelSource, said: str, key: str) -> None:
    assert refused(given, folder, said).where == place(key)


@pytest.mark.parametrize(
    "name", ["torch:shapes", "torch::build", "torch:a b:c", "torch:x:y:z", "keras:a", "shapes", ""]
)
def test_unknown_forms_of_source(folder: Path, name: str) -> None:
    assert isinstance(refused(source(name), folder, name or "unknown"), PolicyError)


def test_a_factory_of_another_input_shape(folder: Path) -> None:
    face = InputFace(shape=(9,), range=(0.0, 1.0))
    error = refused(
        ModelSource(source="torch:shapes:build", input=face, classes=3), folder, r"fails on inputs .*\[2, 9\]"
    )
    assert error.where == place("input", "shape")


def test_a_module_with_faults_of_its_own(folder: Path) -> None:
    (folder / "unsound.py").write_text("x = 1\ndef build(:\n")
    error = refused(source("torch:unsound:build"), folder, "is not Python")
    assert error.where == Place(str(folder / "unsound.py"), 2)
    (folder / "lacking.py").write_text("import a_package_nobody_has\n")
    refused(source("torch:lacking:build"), folder, "needs 'a_package_nobody_has', which is not installed")
    (folder / "raising.py").write_text("raise ValueError('at import')\n")
    refused(source("torch:raising:build"), folder, "ValueError: at import")


def test_weights_that_do_not_fit_are_named(folder: Path) -> None:
    tensors = {"first.weight": torch.rand(5, 4), "last.bias": torch.rand(2), "extra": torch.rand(1)}
    save_file(tensors, folder / "w.safetensors")
    error = refused(source(weights="w.safetensors"), folder, "does not fit")
    assert error.where == place("weights")
    assert "missing: first.bias, last.weight" in error.what
    assert "unexpected: extra" in error.what
    assert "last.bias is [2] in the file, [3] in the model" in error.what


def test_tied_weights_may_be_given_once(tmp_path: Path) -> None:
    text = "from torch import nn\ndef build():\n    a = nn.Linear(4, 4)\n    return nn.Sequential(nn.Flatten(), a, a)\n"
    (tmp_path / "tied.py").write_text(text)
    save_file({"1.weight": torch.eye(4) * 2, "1.bias": torch.zeros(4)}, tmp_path / "w.safetensors")
    model = load_model(source("torch:tied:build", weights="w.safetensors", classes=4), tmp_path, nowhere)
    x = torch.rand(2, 1, 2, 2)
    assert torch.allclose(model.query(x).scores, 4 * x.flatten(1))  # type: ignore[arg-type]


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("form", [*range(6), "zip", "legacy"])
def test_nothing_of_a_pickle_is_executed(folder: Path, form: int | str) -> None:
    marker = folder / "marker"
    path = folder / "w.safetensors"
    trap = {"first.weight": Trap(marker)}
    if isinstance(form, int):
        path.write_bytes(pickle.dumps(trap, protocol=form))
    else:
        torch.save(trap, path, _use_new_zipfile_serialization=form == "zip")
    error = refused(source(weights="w.safetensors"), folder, "w.safetensors is ")
    assert isinstance(error, ModelError)
    assert not marker.exists()
    if form != 0 and form != 1:
        assert "pickle" in error.what
        assert "save_file" in error.remedy
    if isinstance(form, int):
        pickle.loads(path.read_bytes())
    else:
        torch.load(path.rename(folder / "w.pt"), weights_only=False)
    assert marker.exists()  # the trap is live: who unpickles runs it


def test_damaged_weights(folder: Path) -> None:
    save_file({"first.weight": torch.rand(5, 4)}, folder / "w.safetensors")
    whole = (folder / "w.safetensors").read_bytes()
    for raw in (b"", whole[:20], whole[:-4], whole + b"\0", b"\xff" * 8 + whole[8:]):
        (folder / "w.safetensors").write_bytes(raw)
        refused(source(weights="w.safetensors"), folder, "not a sound safetensors file")


def test_a_safetensors_header_of_any_length_is_no_pickle() -> None:
    """The file begins with the header's length, which may look like any magic number."""
    for length in (0x0280, 0x0480, 0x8B1F, 0x04034B50):
        assert foreign_kind(length.to_bytes(8, "little") + b'{"a": 0}') is None
    assert foreign_kind(b"\x80\x02}q\x00") == "a pickle"


def test_an_unknown_device(folder: Path) -> None:
    for device in ("nonsense", "mps"):
        with pytest.raises(PolicyError, match=f"device '{device}' cannot be used"):
            load_model(source(), folder, nowhere, device=device)
