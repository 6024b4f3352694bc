"""Private training and its accounting: features, accountants, speed, accuracy.

python bench/private.py [features | accountants | speed | search | accuracy | public] [--sets mnist fashion_mnist]

Without a word, everything that is not measured yet, in that order.  One thread.  Features lie in `.bench/private`.
Settings are chosen by `search` on the last 10,000 training images, training on the other 50,000 for the same
epsilon; the test images are looked at by `accuracy` only.
"""

import argparse
import dataclasses
import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common import HOME, read, write
from redoubt.bounds.privacy.accountants import epsilon, lower_epsilon
from redoubt.bounds.privacy.calibrate import noise_for
from redoubt.bounds.privacy.events import Event, GaussianRelease, PoissonGaussian
from redoubt.bounds.privacy.spend import quiet
from redoubt.data.idx import read_idx
from redoubt.harden.private.cache import cached_features
from redoubt.harden.private.linear import add_noise, clipped_sum, train_linear
from redoubt.harden.private.normalise import group_norm, noised_centre
from redoubt.harden.private.plan import Plan
from redoubt.harden.private.randomness import PrivateRandom
from redoubt.harden.private.sampling import Poisson
from redoubt.harden.private.scattering import Scattering
from redoubt.records import digest

FEATURES = HOME / "private"
DELTA = 1e-5
SETS = ("mnist", "fashion_mnist")
EPSILONS = (3.0, 1.0)
GROUPS = 27  # Tramer and Boneh 2021, table 8
HELD_OUT = 10_000
SEEDS = range(5)


@dataclasses.dataclass(frozen=True)
class Course:
    """What is chosen; the noise of the steps follows from it and from epsilon.

    `centre` is the noise multiplier of the mean that is taken off the features.
    """

    batch: int
    steps: int
    learning_rate: float
    clip: float = 0.1
    momentum: float = 0.9
    average: float = 0.5
    groups: int = GROUPS
    centre: float = 10.0

    def plan(self, records: int, target: float) -> Plan:
        """The plan that spends epsilon `target` on so many records."""
        rate = self.batch / records
        noise = noise_for(
            target,
            DELTA,
            lambda sigma: [
                GaussianRelease(noise_multiplier=self.centre),
                PoissonGaussian(rate=rate, noise_multiplier=sigma, steps=self.steps),
            ],
        )
        return Plan(rate, noise, self.steps, self.clip, self.learning_rate, self.momentum, self.average)


COURSES = ("2048,300,2", "2048,300,4", "2048,300,8")
"""What `search` tries when it is not told."""


# ── data ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def features_of(name: str, part: str) -> tuple[Tensor, Tensor]:
    """Scattering features `[N, 81, 7, 7]` as they lie in the cache, and labels."""
    raw = read_idx(Path(os.environ["REDOUBT_DATA"]) / name, part)
    x = torch.from_numpy(np.array(raw.x)).float().div(255).unsqueeze(1)
    transform = Scattering()
    features = cached_features(FEATURES, x, digest(np.ascontiguousarray(raw.x).tobytes()), transform.name, transform)
    return features, torch.from_numpy(np.array(raw.y)).long()


def normalised(name: str, part: str, groups: int, rows: slice = slice(None)) -> tuple[Tensor, Tensor]:
    """Features after group normalisation, `[N, D]`, and labels."""
    x, y = features_of(name, part)
    return group_norm(x[rows], groups).flatten(1), y[rows]


def make_features(names: list[str]) -> None:
    """Fill the cache."""
    for name, part in itertools.product(names, ("train", "test")):
        began = time.process_time()
        x, _ = features_of(name, part)
        print(f"bench: features of {name}, {part}: {list(x.shape)}, {time.process_time() - began:.0f} s", flush=True)


# ── accountants ──────────────────────────────────────────────────────────────────────────────────────────────────


def grid() -> Iterator[list[Event]]:
    """200 settings: DP-SGD from one step to many, single releases, and both together."""
    rates, lengths = (0.001, 0.01, 0.05, 0.15, 0.5), (1, 30, 100, 300, 1000, 3000)
    for rate, noise, steps in itertools.product(rates, (0.7, 1.0, 2.0, 4.0, 8.0, 16.0), lengths):
        yield [PoissonGaussian(rate=rate, noise_multiplier=noise, steps=steps)]
    for noise in np.geomspace(0.5, 30, 20):
        yield [
            GaussianRelease(noise_multiplier=4 * float(noise), times=2),
            PoissonGaussian(rate=0.1, noise_multiplier=float(noise), steps=200),
        ]


def compare_accountants() -> None:
    """Epsilon of each by all accountants; what is measured already is kept."""
    done = read("private_accountants") or []
    with quiet():
        for at, events in enumerate(itertools.islice(grid(), 200)):
            if at < len(done):
                continue
            row: dict[str, Any] = {"events": [event.model_dump(mode="json", exclude_defaults=True) for event in events]}
            for by in ("pld", "rdp", "prv"):
                began = time.process_time()
                try:
                    row[by] = epsilon(events, DELTA, by)
                except (ValueError, RuntimeError, ArithmeticError, MemoryError) as error:  # opacus at its limits
                    row[by], row[f"{by} broke"] = None, f"{type(error).__name__}: {error}"
                if row[by] == float("inf"):
                    row[by], row[f"{by} broke"] = None, "no finite answer"
                row[f"{by} seconds"] = time.process_time() - began
            row["lower"] = lower_epsilon(events, DELTA)
            done.append(row)
            if at % 10 == 9:
                write("private_accountants", done)
                print(f"bench: accountants, {at + 1} of 200", flush=True)
    write("private_accountants", done)


# ── speed ────────────────────────────────────────────────────────────────────────────────────────────────────────


def compare_speed(batches: tuple[int, ...] = (512, 2048, 8192), rounds: int = 5) -> None:
    """Processor seconds for a step, each way in turn on the same rows, round by round."""
    x, y = normalised("mnist", "train", GROUPS)
    result = {}
    for batch in batches:
        plan = Plan(batch / len(y), 4.0, 1, 0.1, 4.0)
        ways = {
            "ours": _ours(x, y, plan),
            "plain, blocks": _plain_blocks(x, y, plan),
            "plain, torch": _plain_torch(x, y, plan),
            "opacus hooks": _opacus(x, y, plan, "hooks"),
            "opacus ghost": _opacus(x, y, plan, "ghost"),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        random = PrivateRandom.insecure(0)
        for rows in Poisson(plan.rate).batches(len(y), rounds + 1, random):
            for name, step in ways.items():
                began = time.process_time()
                step(rows)
                seconds[name].append(time.process_time() - began)
        result[str(batch)] = {name: statistics.median(times[1:]) for name, times in seconds.items()}
        shown = {name: f"{at * 1e3:.1f} ms" for name, at in result[str(batch)].items()}
        print(f"bench: speed at {batch}:", shown, flush=True)
    write("private_speed", {"rounds": rounds, "features": x.shape[1], "seconds": result})


Step = Callable[[Tensor], None]


def _ours(x: Tensor, y: Tensor, plan: Plan) -> Step:
    """As `train_linear`, with its draw of coins: the rows are drawn again, though those given are used."""
    squares = torch.cat([rows.square().sum(1) for rows in x.split(512)])
    state, random = torch.zeros(2, 10, x.shape[1] + 1), PrivateRandom()

    def step(rows: Tensor) -> None:
        random.coins(len(y), plan.rate).nonzero()
        gradient = clipped_sum(state[0], x, y, squares, rows, plan.clip)
        add_noise(gradient, plan.noise_multiplier * plan.clip, random)
        state[1].mul_(plan.momentum).add_(gradient, alpha=1 / (plan.rate * len(y)))
        state[0].sub_(state[1], alpha=plan.learning_rate)

    return step


def _plain_blocks(x: Tensor, y: Tensor, plan: Plan) -> Step:
    """Plain SGD, as well as we can write it: closed-form gradient, in blocks, no clipping, no noise."""
    state = torch.zeros(2, 10, x.shape[1] + 1)
    room = torch.empty(256, x.shape[1])

    def step(rows: Tensor) -> None:
        total = torch.zeros_like(state[0])
        weight = state[0, :, :-1].contiguous()
        for block in rows.split(256):
            given = torch.index_select(x, 0, block, out=room[: len(block)])
            residual = torch.addmm(state[0, :, -1:], weight, given.T).softmax(0)
            residual[y[block], torch.arange(len(block))] -= 1
            total[:, :-1].addmm_(residual, given)
            total[:, -1] += residual.sum(1)
        state[1].mul_(plan.momentum).add_(total, alpha=1 / len(rows))
        state[0].sub_(state[1], alpha=plan.learning_rate / 100)

    return step


def _plain_torch(x: Tensor, y: Tensor, plan: Plan) -> Step:
    """Plain SGD, as anybody writes it."""
    module = nn.Linear(x.shape[1], 10)
    optimizer = torch.optim.SGD(module.parameters(), lr=plan.learning_rate / 100, momentum=plan.momentum)

    def step(rows: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(module(x[rows]), y[rows]).backward()
        optimizer.step()

    return step


def _opacus(x: Tensor, y: Tensor, plan: Plan, clipping: str) -> Step:
    """Opacus as its engine sets it up, with torch's seeded noise, which is the faster one; blocks of 512 records."""
    from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
    from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

    ghost = clipping == "ghost"
    base = nn.Linear(x.shape[1], 10)
    module: Any
    module = GradSampleModuleFastGradientClipping(base, max_grad_norm=plan.clip) if ghost else GradSampleModule(base)
    optimizer: Any = (DPOptimizerFastGradientClipping if ghost else DPOptimizer)(
        torch.optim.SGD(base.parameters(), lr=plan.learning_rate, momentum=plan.momentum),
        noise_multiplier=plan.noise_multiplier,
        max_grad_norm=plan.clip,
        expected_batch_size=round(plan.rate * len(y)),
    )
    loss = DPLossFastGradientClipping(module, optimizer, nn.CrossEntropyLoss()) if ghost else nn.CrossEntropyLoss()

    def step(rows: Tensor) -> None:
        blocks = rows.split(512)
        for at, block in enumerate(blocks):
            optimizer.signal_skip_step(do_skip=at < len(blocks) - 1)
            loss(module(x[block]), y[block]).backward()
            optimizer.step()
            optimizer.zero_grad()

    return step


# ── accuracy ─────────────────────────────────────────────────────────────────────────────────────────────────────


def trained(
    x: Tensor, y: Tensor, course: Course, plan: Plan, seed: int
) -> tuple[Callable[[Tensor, Tensor], float], list[Event]]:
    """A function from features and labels to accuracy, and all that looked at the records."""
    found = noised_centre(x, x.shape[1] ** 0.5, course.centre, insecure_seed=1000 + seed)
    model = train_linear(found.centre(x), y, 10, plan, insecure_seed=seed)
    return lambda test, truth: model.accuracy(found.centre(test), truth), [*found.events, *model.events]


def search(names: list[str], targets: list[float], courses: list[Course]) -> None:
    """Accuracy on held-out training images; what is measured already is kept."""
    done = read("private_search") or []
    for name, groups in itertools.product(names, sorted({course.groups for course in courses})):
        x, y = normalised(name, "train", groups)
        kept = len(y) - HELD_OUT
        for target, course in itertools.product(targets, courses):
            key = {"set": name, "epsilon": target, **dataclasses.asdict(course)}
            if course.groups != groups or any(key.items() <= row.items() for row in done):
                continue
            plan = course.plan(kept, target)
            accuracy, _ = trained(x[:kept], y[:kept], course, plan, 0)
            row = {**key, "noise": plan.noise_multiplier, "held out": accuracy(x[kept:], y[kept:])}
            print("bench: search,", row, flush=True)
            done.append(row)
            write("private_search", done)


def best(name: str, target: float) -> Course:
    """What did best on held-out images."""
    rows = [row for row in read("private_search") or [] if (row["set"], row["epsilon"]) == (name, target)]
    if not rows:
        raise SystemExit(f"bench: nothing was searched for {name} at epsilon {target}")
    found = max(rows, key=lambda row: float(row["held out"]))
    return Course(**{field.name: found[field.name] for field in dataclasses.fields(Course)})


def measure_accuracy(names: list[str], targets: list[float]) -> None:
    """Accuracy on the test images, five seeds each; what is measured already is kept."""
    done = read("private_accuracy") or []
    for name, target in itertools.product(names, targets):
        course = best(name, target)
        key = {"set": name, "epsilon": target, **dataclasses.asdict(course)}
        if any(key.items() <= row.items() for row in done):
            continue
        x, y = normalised(name, "train", course.groups)
        test, truth = normalised(name, "test", course.groups)
        plan = course.plan(len(y), target)
        accuracies, seconds = [], []
        for seed in SEEDS:
            began = time.process_time()
            accuracy, events = trained(x, y, course, plan, seed)
            seconds.append(time.process_time() - began)
            accuracies.append(accuracy(test, truth))
        spent = {by: epsilon(events, DELTA, by) for by in ("pld", "rdp", "prv")}
        row = {**key, "noise": plan.noise_multiplier, "accuracies": accuracies, "seconds": seconds, "spent": spent}
        print("bench: accuracy,", row, flush=True)
        done = [old for old in done if (old["set"], old["epsilon"]) != (name, target)] + [row]
        write("private_accuracy", done)


def course_of(text: str) -> Course:
    """`batch,steps,learning rate`, and more of Course's numbers in their order."""
    batch, steps, *rest = text.split(",")
    return Course(int(batch), int(steps), *(float(number) for number in rest))


def main() -> None:
    """What is asked for, or whatever is missing."""
    parser = argparse.ArgumentParser()
    parser.add_argument("step", nargs="?", choices=["features", "accountants", "speed", "search", "accuracy", "public"])
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--epsilons", nargs="+", type=float, default=list(EPSILONS))
    parser.add_argument("--courses", nargs="+", default=COURSES)
    asked = parser.parse_args()
    if asked.step in (None, "features"):
        make_features(asked.sets)
    if asked.step in (None, "accountants"):
        compare_accountants()
    if asked.step == "speed" or (asked.step is None and read("private_speed") is None):
        compare_speed()
    if asked.step in (None, "search"):
        search(asked.sets, asked.epsilons, [course_of(text) for text in asked.courses])
    if asked.step in (None, "accuracy"):
        measure_accuracy(asked.sets, asked.epsilons)
    if asked.step in (None, "public"):
        from private_public import measure_public  # which takes its features and courses from here

        measure_public(asked.sets)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
