"""What an assessment leaves behind: the evidence on every requirement, and what all of it depends on."""

from typing import Annotated

from pydantic import AfterValidator, Field

from redoubt.records.base import Record
from redoubt.records.games import AnyEvidence
from redoubt.records.quantities import ordered
from redoubt.records.work import Count


class Digests(Record):
    """SHA-256 of everything the verdicts depend on, each `sha256:<hex>`."""

    policy: str
    model: str
    data: str
    code: str


class Evidence(Record):
    """The whole assessment.  Holds no time and no machine: same policy, model, data, code and seed, same bytes.

    What was played through a live guard (`guarded`) is the exception: a guard remembers, and its clock runs.

    `examples.safetensors` beside it holds, for each example with a `tensor` key K, the perturbed input under
    `K/perturbed` and the clean one under `K/clean`, both float32 in the model's input range; for examples of an
    invariance check, the training input takes the place of the perturbed one.
    """

    redoubt: str = Field(description="Version of Redoubt.")
    system: str
    seed: Count
    digests: Digests
    versions: dict[str, str] = Field(description="Versions of the libraries that did the arithmetic.")
    model: str = Field(description="The model's source, as the policy names it.")
    data: str = Field(description="The data's source, as the policy names it.")
    classes: tuple[str, ...] = Field(description="Class names, or the indices as text.")
    input_shape: tuple[int, ...]
    input_range: Annotated[tuple[float, float], AfterValidator(ordered)]
    requirements: tuple[AnyEvidence, ...]
