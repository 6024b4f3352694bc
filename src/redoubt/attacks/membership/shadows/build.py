"""From a policy's words on shadow models to what trains them."""

from pathlib import Path

import torch
from torch import nn

from redoubt.attacks.membership.shadows.base import Trainer
from redoubt.attacks.membership.shadows.of_sklearn import SklearnTrainer
from redoubt.attacks.membership.shadows.of_torch import TorchTrainer
from redoubt.models import Model
from redoubt.models.adapter import Adapter
from redoubt.models.importing import folder_first, import_named, named_parts, source_texts
from redoubt.models.locate import Locate, placed
from redoubt.models.torch_model import TorchModel
from redoubt.records import ModelSource, PolicyError
from redoubt.records.training import TrainingRecipe


def trainer_for(
    recipe: TrainingRecipe, source: ModelSource, model: Model, base: Path, locate: Locate, key: str = "shadows"
) -> Trainer:
    """What trains shadow models.

    Args:
        recipe: the policy's words.
        source: the policy's `model` section, for the face, and for what the target is.
        model: the target; of a scikit-learn file, its kind and settings are taken.
        base: the policy's folder.
        locate: place of a key in the policy, for messages.
        key: where in the requirement the recipe stands.

    Raises:
        PolicyError: nobody says what to train.
        ModelError: the factory fails.
    """
    named = recipe.source or source.source
    scheme, _, rest = named.partition(":")
    adapter = Adapter.of(source)
    with placed(locate, key):
        if scheme == "sklearn" and recipe.source is not None:
            return SklearnTrainer.named(rest, dict(recipe.parameters), adapter)
        estimator = getattr(model, "estimator", None)
        if scheme == "sklearn" and estimator is not None:
            return SklearnTrainer(_unfitted(estimator, dict(recipe.parameters)), adapter)
        if scheme == "torch":
            own = ModelSource.model_validate(source.model_dump() | {"source": named, "weights": None})
            TorchModel.from_source(own, base, lambda *_: None)  # says what is wrong with the factory, if anything is
            module, name = named_parts(rest, "torch", "factory")
            return TorchTrainer(_Factory(module, name, base), adapter, recipe, source_texts(module))
        raise PolicyError(
            f"a source of {scheme}: does not tell what is to be trained",
            remedy=f"write {key}: {{source: torch:<module>:<factory>}} or {{source: sklearn:<Estimator>}}",
        )


def _unfitted(estimator: object, parameters: dict[str, object]) -> object:
    from sklearn.base import clone

    try:
        return clone(estimator).set_params(**parameters)
    except (ValueError, TypeError) as error:
        raise PolicyError(
            f"the estimator has no such parameter: {error}"[:300], remedy="correct `parameters`"
        ) from error


class _Factory:
    """Builds fresh modules, each from a seed."""

    def __init__(self, module: str, name: str, base: Path) -> None:
        self._factory = import_named(module, name, base)
        self._base = base

    def __call__(self, seed: int) -> nn.Module:
        with folder_first(self._base), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            built = self._factory()
        if not isinstance(built, nn.Module):
            raise PolicyError("the factory builds no module", remedy="return a torch.nn.Module")
        return built
