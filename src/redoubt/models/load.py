"""From a policy's `model` section to a model."""

from pathlib import Path

import torch

from redoubt.models.adapter import face_of
from redoubt.models.base import Face, Model
from redoubt.models.callable_model import CallableModel
from redoubt.models.endpoint import load_endpoint
from redoubt.models.language import CharacterModel
from redoubt.models.locate import Locate, first_line, placed
from redoubt.models.onnx_model import load_onnx
from redoubt.models.sklearn_model import load_sklearn
from redoubt.models.torch_model import TorchModel
from redoubt.models.transformers_model import TransformersModel
from redoubt.records import ModelError, ModelSource, PolicyError, RedoubtError


def load_model(source: ModelSource, base: Path, locate: Locate, device: str = "cpu") -> Model:
    """Load the model, and ask it one question to see that it takes inputs of the declared shape.

    Args:
        source: the policy's `model` section.
        base: the policy's folder; relative paths and imports start there.
        locate: `locate("weights")` gives the place of that key in the policy; every error carries one.
        device: where torch computes.

    Returns:
        A `Differentiable` where there are gradients; otherwise a model that can only be asked, whose
        `why_not_differentiable`, where it has one, says why.

    Raises:
        PolicyError: `source` is of no known form, or there is no such device.
        ModelError: the model cannot be loaded safely, or is not a classifier of the declared face.
        EndpointError: a served model does not answer.
    """
    scheme, colon, _ = source.source.partition(":")
    if source.weights is not None and scheme != "torch":
        raise PolicyError(
            f"'weights' belongs to torch models, not to '{scheme}'", locate("weights"), remedy="leave it out"
        )
    _check_device(device)
    model: Model
    match scheme if colon else "":
        case "torch":
            model = _of_text(TorchModel.from_source(source, base, locate, device), locate)
        case "transformers":
            model = TransformersModel.from_source(source, base, locate, device)
        case "onnx":
            model = load_onnx(source, base, locate, device)
        case "sklearn":
            model = load_sklearn(source, base, locate, device)
        case "python":
            model = CallableModel.from_source(source, base, locate)
        case "http" | "https":
            return load_endpoint(source, locate)
        case _:
            raise PolicyError(
                "unknown model source"
                if "@" in source.source  # it may hold a password
                else f"unknown model source '{source.source}'",
                locate("source"),
                remedy="write torch:<module>:<factory>, onnx:<file>, sklearn:<file.skops>, transformers:<folder>, "
                "python:<module>:<callable> or http(s)://host/v2/models/<name>",
            )
    _ask_once(model, face_of(source), locate)
    return model


def _of_text(model: TorchModel, locate: Locate) -> Model:
    """The model as a language model, if its module has a `vocabulary` of characters."""
    vocabulary = getattr(model.module, "vocabulary", None)
    if not isinstance(vocabulary, str):
        return model
    face = model.face
    with placed(locate, "input"):
        if len(face.shape) != 1 or face.classes != len(vocabulary) or (face.low, face.high) != (0, len(vocabulary) - 1):
            raise ModelError(
                f"the module's vocabulary has {len(vocabulary)} characters",
                remedy=f"write classes: {len(vocabulary)}, shape: [tokens it sees], range: [0, {len(vocabulary) - 1}]",
            )
    return CharacterModel(model.module, vocabulary, face.shape[0])


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # as torch says that a device is not there
        raise PolicyError(f"device '{device}' cannot be used: {first_line(error)}", remedy="use cpu") from error


def _ask_once(model: Model, face: Face, locate: Locate) -> None:
    """Two inputs in the middle of the range: enough to see wrong shapes and a wrong number of classes."""
    middle = torch.full((2, *face.shape), (face.low + face.high) / 2)
    try:
        with placed(locate, "source"), torch.no_grad():
            scores = model._scores(middle)
    except RedoubtError:
        raise
    except Exception as error:  # the wall to the model's own code, which may raise anything
        raise ModelError(
            f"the model fails on inputs of shape {[2, *face.shape]}: {first_line(error)}",
            locate("input", "shape"),
            remedy="make the policy's input shape the one the model was built for",
        ) from error
    with placed(locate, "classes"):
        model._check_scores(middle, scores)
