"""The zoo: small hardened networks that benches, tests and the guard reuse; `bench/zoo_policies` says how each is made.

python bench/zoo.py [NAME ...]        (`make zoo`)

Each is trained by what `redoubt harden` runs, on training images alone, 1,000 of which are held out to watch; what is
finished is not trained again, what was killed goes on.  Weights, evidence, page and card go to `.bench/zoo/NAME`.
"""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

import zoo_models
from common import HOME, MNIST, write
from redoubt.data import Dataset, load_data
from redoubt.harden import Epoch, harden
from redoubt.models import Face, TorchModel
from redoubt.models.locate import nowhere
from redoubt.perturb import PerturbationSet, build_set
from redoubt.policy import PolicyFile, read_policy
from redoubt.records import DataSource, Hardening, digest
from redoubt.report import write_hardening_page

FACE = Face((1, 28, 28), 0.0, 1.0, 10)
ZOO = HOME / "zoo"
POLICIES = Path(__file__).with_name("zoo_policies")
STANDARD = ("pgd", "trades", "fast", "fashion", "l2", "pgd-l2")
ELSEWHERE = dict.fromkeys(
    ("pgd", "pgd-l2"), MNIST / "mnist.hardened"
)  # hardened from the plain model, in bench/mnist.py
STRONG = ("strong-linf", "strong-l2", "strong-turn")


@dataclass(frozen=True)
class Member:
    """One model: its policy, its data, what it is to withstand."""

    name: str
    policy: PolicyFile
    data: str
    within: PerturbationSet


def member(name: str) -> Member:
    """A member by name; its policy is copied to where what it makes can go."""
    ZOO.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(zoo_models.__file__), ZOO / "zoo_models.py")
    path = ZOO / f"{name}.yaml"
    shutil.copy(POLICIES / path.name, path)
    file = read_policy(path)
    data = file.policy.data.test.source.removeprefix("idx:").partition("/")[0]
    return Member(name, file, data, build_set(file.policy.requirements[0].within, FACE))


def load(name: str) -> TorchModel:
    """A trained model of the zoo."""
    factory = member(name).policy.policy.model.source.rpartition(":")[2]
    module = getattr(zoo_models, factory)()
    module.load_state_dict(load_file(ELSEWHERE.get(name, ZOO / name) / "model.safetensors"))
    return TorchModel(module.eval().requires_grad_(False), FACE)


def dataset(data: str, part: str, take: int | None = None) -> Dataset:
    """MNIST or Fashion-MNIST; `take` of its images, as many of each class."""
    return load_data(DataSource(source=f"idx:{data}/{part}", take=take), FACE, ZOO, nowhere)


def make(name: str) -> None:
    """Train one member, and keep it with its card."""
    one = member(name)
    hardened = harden(one.policy, ZOO / name, heard=_say)
    page = write_hardening_page(ZOO / name, f"python bench/zoo.py {name}")
    told = Hardening.model_validate_json(hardened.evidence.read_text())
    (ZOO / name / "card.md").write_text(card(one, told, digest(hardened.evidence.read_bytes())))
    price = told.price.model_dump(mode="json")
    write(f"zoo/{name}", {"price": price, "weights": told.weights, "against": told.against})
    print(f"bench: {name}: {told.price.seconds:.0f} s; {page}", flush=True)


def card(one: Member, told: Hardening, evidence: str) -> str:
    """What a model is, how it was made, and how to tell that it is the one."""
    price, factory = told.price, one.policy.policy.model.source
    return f"""# {one.name}

Trained to withstand {told.against} on {one.data}, by `python bench/zoo.py {one.name}` from the policy below.

| | |
|---|---|
| network | `{factory}` in `bench/zoo_models.py` |
| weights | `{told.weights}` |
| evidence | `{evidence}` (`hardened.json`) |
| policy | `{told.policy}` |
| training data | `{told.data}` |
| seed | {told.seed} |
| versions | {json.dumps(told.versions)} |
| clean accuracy | {price.clean_after:.1%} of {price.examples:,} training images held out |
| under the training attack | {price.robust_after:.1%} of the same; `redoubt assess` measures |
| price | {price.passes:,} passes, {price.seconds:.0f} s |

```yaml
{one.policy.text.strip()}
```
"""


def _say(epoch: Epoch, of: int) -> None:
    print(f"bench: epoch {epoch.number}/{of}, clean {epoch.clean:.1%}, under attack {epoch.robust:.1%}", flush=True)


def main() -> None:
    """Whatever is not trained yet."""
    torch.set_num_threads(1)
    for name in sys.argv[1:] or (*STANDARD, *STRONG):
        if name not in ELSEWHERE and not (ZOO / name / "card.md").exists():
            print(f"bench: training {name}", flush=True)
            make(name)


if __name__ == "__main__":
    main()
