"""One face for every model: torch, ONNX, scikit-learn, HTTP endpoint, any callable; access levels; the meter."""

from redoubt.models.base import Answer, Differentiable, Face, Model
from redoubt.models.callable_model import CallableModel
from redoubt.models.endpoint import Endpoint, LabelEndpoint, Patience
from redoubt.models.examine import examine, unstable_share
from redoubt.models.load import load_model
from redoubt.models.locate import Locate, nowhere
from redoubt.models.look import Sketch, look
from redoubt.models.meter import AccessDenied, BudgetExceeded, Meter, Metered, Slope
from redoubt.models.onnx_model import DifferentiableOnnxModel, OnnxModel
from redoubt.models.sklearn_model import DifferentiableSklearnModel, SklearnModel
from redoubt.models.torch_model import TorchModel
from redoubt.models.twin import as_differentiable

__all__ = [
    "AccessDenied",
    "Answer",
    "BudgetExceeded",
    "CallableModel",
    "Differentiable",
    "DifferentiableOnnxModel",
    "DifferentiableSklearnModel",
    "Endpoint",
    "Face",
    "LabelEndpoint",
    "Locate",
    "Meter",
    "Metered",
    "Model",
    "OnnxModel",
    "Patience",
    "Sketch",
    "SklearnModel",
    "Slope",
    "TorchModel",
    "as_differentiable",
    "examine",
    "load_model",
    "look",
    "nowhere",
    "unstable_share",
]
