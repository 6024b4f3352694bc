"""The system under assessment: model and data, opened, examined and digested."""

import contextlib
import dataclasses
import hashlib
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor

import redoubt
from redoubt.data import Dataset, load_data
from redoubt.models import Locate, Model, examine, load_model, unstable_share
from redoubt.models.examine import same
from redoubt.models.language import LanguageModel
from redoubt.records import DataError, Digests, ModelError, Policy, digest

_BATCH = 250
_DRAWS = 11  # of a random model's answer to a clean input


@dataclass(frozen=True)
class System:
    """Model and data, ready to be attacked.

    Attributes:
        policy: the policy.
        model: the model, its face checked against the data.
        data: the test data as taken.
        device: where the tensors go.
        digests: of policy, model, data and code.
        base: the policy's folder.
    """

    policy: Policy
    model: Model
    data: Dataset
    device: str
    digests: Digests
    base: Path = Path()

    @property
    def run(self) -> str:
        """Digest of all that a task's result depends on besides the task."""
        return digest([self.digests.model, self.digests.data, self.digests.code, versions(), self.device])


def open_system(policy: Policy, base: Path, locate: Locate, device: str = "cpu") -> System:
    """Load model and test data.

    Args:
        policy: what to load.
        base: the folder that relative paths start from.
        locate: place of a key in the policy file, for messages.
        device: a torch device.

    Raises:
        RedoubtError: anything that cannot be loaded, or does not fit together.
    """
    model = load_model(policy.model, base, lambda *keys: locate("model", *keys), device)
    encode = model.encode if isinstance(model, LanguageModel) else None
    data = load_data(policy.data.test, model.face, base, lambda *keys: locate("data", "test", *keys), encode)
    digests = Digests(policy=digest(policy), model=model.digest(), data=data.digest, code=code_digest())
    return System(policy, model, data, device, digests, base)


def answers(system: System, locate: Locate) -> Tensor:
    """The model's answers to the clean data, int64 `[N]`, after a first look for what would spoil an assessment.

    Raises:
        ModelError: the outputs are not what the policy says, or are not finite for some row.
        DataError: the model is right for no input at all.
    """
    x, y = system.data.x, system.data.y
    examine(system.model, x[:_BATCH].to(system.device), system.policy.model.outputs, lambda *k: locate("model", *k))
    labels, random = [], False
    for begin in range(0, len(x), _BATCH):
        batch = x[begin : begin + _BATCH].to(system.device)
        with repeatable(begin):
            answer = system.model.query(batch)
            random = random if begin else not bool(same(answer, system.model.query(batch)).all())
            if random:  # the answer is the one that it mostly gives
                drawn = torch.stack([answer.labels, *(system.model.query(batch).labels for _ in range(_DRAWS - 1))])
                answer = dataclasses.replace(answer, labels=drawn.mode(dim=0).values)
        scores = answer.scores if answer.scores is not None else torch.zeros(len(answer.labels), 1)
        bad = ~scores.isfinite().all(dim=1) & ~answer.refused.to(scores.device)
        if bad.any():
            row = begin + int(bad.nonzero()[0])
            raise ModelError(f"the model answers NaN or infinity to row {row} of {system.data.source}", locate("model"))
        labels.append(answer.labels.cpu())
    clean = torch.cat(labels)
    if not (clean == y).any():
        raise DataError(
            f"the model answers none of the {len(y)} examples of {system.data.source} rightly",
            locate("data", "test"),
            remedy="check that labels are numbered as the model's classes are, and values scaled as `range` says",
        )
    return clean


def unstable(system: System) -> float:
    """Share of a first batch whose answers differ between two identical queries."""
    with repeatable(0):
        return unstable_share(system.model, system.data.x[:_BATCH].to(system.device))


@contextlib.contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Make what is computed inside the same bytes every time.

    On one thread, since the number of threads changes the last bits of sums; and with torch's own random numbers
    seeded, since a model may draw from them.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


@cache
def versions() -> dict[str, str]:
    """Versions of the libraries that do the arithmetic, as far as they are installed."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for name in ("numpy", "scipy", "onnxruntime", "scikit-learn"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@cache
def code_digest() -> str:
    """Digest of every source file of this package: other code, other evidence."""
    root = Path(redoubt.__file__).parent
    total = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        total.update(f"{file.relative_to(root).as_posix()}\0".encode())
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return f"sha256:{total.hexdigest()}"
