"""What the guard is worth: the attacker's work on the plain MNIST model, bare against guarded, naive against adaptive.

python bench/work_factor.py [--images N] [SCENARIO ...]

The whole chain in this process, durable log and deep k-NN over 60,000 images included, with a clock that passes only
when somebody waits: hours are those that lockouts, budgets and rates cost.  Each strategy meets a guard that remembers
nothing yet, and each image is attacked with accounts of its own.
"""

import argparse
import contextlib
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

import mnist
from common import read, write
from redoubt.assess.execute import Silent
from redoubt.assess.plan import make_plan
from redoubt.assess.suite import STANDARD
from redoubt.assess.system import answers, open_system
from redoubt.assess.through import Through, measure_work
from redoubt.games import clopper_pearson
from redoubt.models.customer import Terms
from redoubt.policy import PolicyFile, read_policy
from redoubt.records.campaign import Campaign, WorkFactor
from redoubt.service.guard import Guard
from redoubt.service.identify import make_key
from redoubt.service.inprocess import ChainTransport, VirtualClock

START = 1_790_000_000.0
PACE = 0.05  # seconds per request
WAIT = 86_400.0  # an attacker waits up to a day for each image
MEMORY = """\
    - {name: not probing, rule: "signals.similar_queries < 25", otherwise: lock}
    - {name: not probing together, rule: "signals.similar_queries_all < 50", otherwise: refuse}
"""
SUPPORT = """\
    - {name: supported, rule: "signals.credibility >= 0.01", otherwise: refuse}
"""


@dataclass(frozen=True)
class Scenario:
    """Who attacks within what, and which rules stand against it."""

    observes: str
    within: str
    strategies: str
    rules: str
    queries: int = 500
    accounts: int = 5


SCENARIOS = {
    "sees labels, Linf 0.3; memory": Scenario("label", "{norm: linf, radius: 0.3}", "[rays, hopskipjump]", MEMORY),
    "sees labels, Linf 0.15; memory": Scenario("label", "{norm: linf, radius: 0.15}", "[rays]", MEMORY),
    "sees scores, Linf 0.3; memory and support": Scenario(
        "scores", "{norm: linf, radius: 0.3}", "[square, nes]", SUPPORT + MEMORY
    ),
    "sees labels, Linf 0.3; memory and support": Scenario(
        "label", "{norm: linf, radius: 0.3}", "[rays]", SUPPORT + MEMORY, queries=200
    ),
    "sees labels, Linf 0.3, HopSkipJump; memory and support": Scenario(
        "label", "{norm: linf, radius: 0.3}", "[hopskipjump]", SUPPORT + MEMORY, queries=200
    ),
    "sees labels, L2 2; memory": Scenario("label", "{norm: l2, radius: 2}", "[hopskipjump]", MEMORY, queries=1000),
}
POLICY = """\
redoubt: 1
system: mnist
model:
  source: torch:mnist_model:build
  weights: model.safetensors
  input: {{shape: [1, 28, 28], range: [0, 1]}}
  classes: 10
data:
  train: idx:mnist/train
  test: {{source: idx:mnist/test, take: 1000, seed: 0}}
adversaries:
  customer: {{observes: {observes}, budget: {{queries: {queries}, accounts: {accounts}}}}}
requirements:
  - id: noise
    game: evasion
    adversary: customer
    within: {within}
    require: robust_accuracy >= 0.5
    strategies: {strategies}
guard:
  identify: {{keys: keys.db}}
  tiers:
    public: {{observes: {observes}, queries_per_day: 1000}}
  admit:
{rules}
  lockout: {{strikes: 3, lasts: 1 h, forgets: 1 d}}
  detectors: {{fingerprints: {{remember: 200000}}}}
  record: {{log: audit/}}
"""


class Renewed:
    """The guard of a policy, empty, with keys for every image, each time it is asked for."""

    def __init__(self, path: Path, keys: int, images: int) -> None:
        self._path, self._keys, self._images = path, keys, images
        self._stack = contextlib.ExitStack()

    def __call__(self) -> Through:
        """Another one; the one before is closed."""
        self.close()
        for file in self._path.parent.glob("keys.db*"):
            file.unlink()
        for file in self._path.parent.glob("audit.*"):
            file.unlink()
        shutil.rmtree(self._path.parent / "audit", ignore_errors=True)
        clock = VirtualClock(START)
        guard = Guard.open(self._path, clock.now)
        self._stack.callback(guard.close)
        keys = [make_key("public", frozenset({"client"}), "bench", START) for _ in range(self._keys)]
        for key in keys:
            guard.store.add_key(key.stored, "bench")
        return Through(
            "http://guard/v2/models/mnist",
            tuple(key.text for key in keys),
            clock,
            Terms(pace=PACE, longest_wait=WAIT),
            self._images,
            ChainTransport(guard.chain, clock.now),
            self,
        )

    def close(self) -> None:
        """Close the last one."""
        self._stack.close()


class Told(Silent):
    """Says which strategy begins."""

    def playing(self, requirement: str, strategy: str, standing: int) -> None:
        print(f"bench:   {time.strftime('%H:%M:%S')} {strategy} through the guard, {standing} images", flush=True)


def measure(scenario: Scenario, images: int, folder: Path) -> WorkFactor:
    """Play a scenario."""
    for name in ("mnist_model.py", "model.safetensors"):
        shutil.copy(mnist.MNIST / name, folder)
    path = folder / "policy.yaml"
    path.write_text(POLICY.format(**asdict(scenario) | {"rules": scenario.rules.rstrip()}))
    file: PolicyFile = read_policy(path)
    system = open_system(file.policy, file.base, file.place)
    plan = make_plan(file.policy.requirements[0], system, answers(system, file.place), STANDARD, file)
    renewed = Renewed(path, images * scenario.accounts + 1, images)
    try:
        found = measure_work(plan, system, renewed(), STANDARD, Told())
    finally:
        renewed.close()
    if found is None:
        raise SystemExit("the model answers no image rightly")
    return found


def told(campaign: Campaign) -> dict[str, Any]:
    """A campaign's figures."""
    won, tried = len(campaign.successes), len(campaign.efforts)
    interval = clopper_pearson(won, tried)
    typical = campaign.typical
    return {
        "strategy": campaign.strategy,
        "manner": campaign.manner,
        "won": won,
        "tried": tried,
        "low": interval.low,
        "high": interval.high,
        "queries": typical[0] if typical else None,
        "accounts": typical[1] if typical else None,
        "hours": typical[2] if typical else None,
        "price": campaign.price,
        "refusals": sum(effort.refusals for effort in campaign.efforts),
        "asked": sum(effort.queries for effort in campaign.efforts),
        "burnt": median(effort.burnt for effort in campaign.efforts),
        "hours in all": sum(effort.seconds for effort in campaign.efforts) / 3600,
        "broke": campaign.broke,
    }


def main() -> None:
    """Every scenario that has not been played yet, or those named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    mnist.prepare()
    if not (mnist.MNIST / "model.safetensors").exists():
        mnist.train()
    kept: dict[str, Any] = read("work_factor") or {}
    # Of a log on a real disk, a virtual hour would be spent waiting for it.
    home = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=home) as folder:
        for name in asked.scenarios or [name for name in SCENARIOS if name not in kept]:
            scenario = SCENARIOS[name]
            print(f"bench: {name}", flush=True)
            begin = time.perf_counter()
            found = measure(scenario, asked.images, Path(folder))
            kept[name] = {
                "scenario": asdict(replace(scenario, rules="")),
                "shows": found.shows,
                "honest": found.honest,
                "honest refused": found.honest_refused,
                "wait": WAIT,
                "seconds": time.perf_counter() - begin,
                "campaigns": [told(campaign) for campaign in found.campaigns],
            }
            write("work_factor", kept)


if __name__ == "__main__":
    main()
