"""Evidence folders as `assess` leaves them: real inputs, made-up perturbations, counts that add up."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from scipy.stats import beta
from sklearn.datasets import load_digits, load_wine

from redoubt.policy import parse_policy
from redoubt.records import (
    Bound,
    CurvePoint,
    Digests,
    EvasionEvidence,
    Evidence,
    ExampleResult,
    Interval,
    Measured,
    Sign,
    SignName,
    StrategyOutcome,
    Verdict,
    Work,
    canonical_json,
    digest,
)

POLICY = """redoubt: 1
system: digit-reader
seed: 7
model:
  source: torch:digits.model:build
  input: {shape: [1, 8, 8], range: [0, 1]}
  classes: 10
data:
  test: sklearn:digits/test
adversaries:
  insider: {knows: weights, budget: {passes: 10000}}
  customer: {observes: scores, budget: {queries: 5000}}
requirements:
  - id: small-noise
    game: evasion
    adversary: insider
    within: {norm: linf, radius: 0.2}
    require: robust_accuracy >= 0.85
  - id: stranger
    game: evasion
    adversary: customer
    within: {norm: linf, radius: 0.1}
    require: attack_success <= 0.2
"""
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COMMAND = "redoubt assess policy.yaml --out evidence"
TIMINGS = {
    "machine": "x86_64, 2 cores, Linux",
    "started": "2026-03-01T09:30:00+02:00",
    "seconds": {"small-noise": {"random": 0.31, "apgd-ce": 12.9, "apgd-t": 71.25}, "turn-and-shift": {"grid": 8.5}},
}


def measured(measure: str, successes: int, trials: int) -> Measured:
    low = float(beta.ppf(0.025, successes, trials - successes + 1)) if successes else 0.0
    high = float(beta.ppf(0.975, successes + 1, trials - successes)) if successes < trials else 1.0
    return Measured(measure=measure, successes=successes, trials=trials, interval=Interval(low=low, high=high))


@dataclass
class Sample:
    """Real inputs `[N, *shape]` and what happened to them."""

    x: np.ndarray
    y: np.ndarray
    classes: tuple[str, ...]
    low: float
    high: float
    tensors: dict[str, np.ndarray] = field(default_factory=dict)

    def examples(
        self, ident: str, fooled: dict[str, int], cost: float, within: str, radius: float, seed: int
    ) -> tuple[ExampleResult, ...]:
        """Every fiftieth input is answered wrongly; of the others, each strategy fools as many as told."""
        rng = np.random.default_rng(seed)
        names = [name for name, number in fooled.items() for _ in range(number)]
        right = [row for row in range(len(self.y)) if row % 50 != 49]
        fate = dict(zip(rng.permutation(right).tolist(), names, strict=False))
        results, kept = [], 0
        for row, label in enumerate(self.y.tolist()):
            other = (label + 1 + int(rng.integers(len(self.classes) - 1))) % len(self.classes)
            if row not in fate:
                wrong = row % 50 == 49
                work = Work() if wrong or not names else Work(forwards=4001, backwards=4000)
                results.append(ExampleResult(row=row, label=label, clean=other if wrong else label, work=work))
                continue
            passes = int(np.ceil(rng.lognormal(np.log(cost), 1.1)))
            key = f"{ident}/{row}" if kept < 24 else None
            if key is not None:
                kept += 1
                self.tensors[f"{key}/clean"] = self.x[row]
                noise = radius * rng.choice([-1.0, 1.0], self.x[row].shape)
                self.tensors[f"{key}/perturbed"] = np.clip(self.x[row] + noise, self.low, self.high).astype("float32")
            results.append(
                ExampleResult(
                    row=row,
                    label=label,
                    clean=label,
                    perturbed=other,
                    strategy=fate[row],
                    within=within,
                    distance=radius,
                    work=Work(forwards=passes - passes // 2, backwards=passes // 2),
                    tensor=key,
                )
            )
        return tuple(results)


def requirement(
    sample: Sample, ident: str, bound: str, verdict: Verdict, fooled: dict[str, int], within: str, **given: Any
) -> EvasionEvidence:
    """One requirement whose measures, outcomes and work follow from its examples."""
    examples = sample.examples(ident, fooled, given.get("cost", 60.0), within, given.get("radius", 0.1), len(ident))
    total, right = len(examples), sum(e.clean == e.label for e in examples)
    robust, standing, outcomes = sum(e.robust for e in examples), right, []
    for name, number in fooled.items():
        mine = [e.work.passes for e in examples if e.strategy == name]
        outcomes.append(
            StrategyOutcome(
                strategy=name,
                parameters={"steps": 100, "restarts": 1, "loss": None},
                within=within,
                attacked=standing,
                fooled=number,
                work=Work(forwards=standing * 101, backwards=standing * 100),
                passes_to_fool=float(np.median(mine)) if mine else None,
                mean_passes_to_fool=float(np.mean(mine)) if mine else None,
                broke=given.get("broke", {}).get(name),
            )
        )
        standing -= number
    parsed = Bound.model_validate(Bound.parse(bound))
    counts = {
        "robust_accuracy": (robust, total),
        "clean_accuracy": (right, total),
        "attack_success": (right - robust, right),
    }
    curve = [
        CurvePoint(scale=s, within=f"{within.split()[0]} {s * 0.2:g}", robust=measured("robust_accuracy", n, 100))
        for s, n in given.get("curve", {}).items()
    ]
    return EvasionEvidence(
        id=ident,
        game="evasion",
        adversary=given.get("adversary", "insider"),
        within=within,
        require=parsed,
        verdict=verdict,
        reason=given["reason"],
        measures=tuple(measured(name, *pair) for name, pair in counts.items()),
        outcomes=tuple(outcomes),
        signs=given.get("signs", ()),
        curve=tuple(curve),
        examples=examples,
        work=sum((o.work for o in outcomes), Work()),
    )


def evidence(sample: Sample, requirements: list[EvasionEvidence], system: str = "digit-reader") -> Evidence:
    return Evidence(
        redoubt="0.1.0",
        system=system,
        seed=7,
        digests=Digests(
            policy=digest(parse_policy(POLICY.encode(), Path("policy.yaml")).policy),
            model=digest(b"model"),
            data=digest(b"data"),
            code=digest(b"code"),
        ),
        versions={"torch": "2.13.0", "numpy": "2.4.6", "python": "3.11.2"},
        model="torch:digits.model:build",
        data="sklearn:digits/test",
        classes=sample.classes,
        input_shape=sample.x.shape[1:],
        input_range=(sample.low, sample.high),
        requirements=tuple(requirements),
    )


def digits(size: int = 200) -> Sample:
    """scikit-learn's digits, `[N, 1, 8, 8]` in 0..1."""
    data = load_digits()
    x = (data.images[:size, None] / 16).astype("float32")
    return Sample(x, data.target[:size], DIGITS, 0.0, 1.0)


def wine() -> Sample:
    """scikit-learn's wines, `[N, 13]`, scaled to 0..1."""
    data = load_wine()
    x = ((data.data - data.data.min(0)) / np.ptp(data.data, axis=0)).astype("float32")
    return Sample(x, data.target, tuple(map(str, data.target_names)), 0.0, 1.0)


def image_case() -> tuple[Evidence, dict[str, np.ndarray]]:
    """All three verdicts over pictures, with signs, a broken strategy and a requirement without an attack."""
    sample = digits()
    return evidence(
        sample,
        [
            requirement(
                sample, "small-noise", "robust_accuracy >= 0.85", Verdict.VIOLATED,
                {"random": 9, "apgd-ce": 118, "apgd-t": 21}, "Linf 0.2", radius=0.2, cost=70.0,
                curve={0.125: 93, 0.25: 81, 0.5: 60, 1.0: 29, 1.5: 9},
                reason="Of 200 inputs, 48 stayed right. Even the upper end of the interval lies below 85 %.",
            ),
            requirement(
                sample, "turn-and-shift", "robust_accuracy >= 0.70", Verdict.WITHSTOOD, {"random": 6, "grid": 15},
                "rotation 20 deg + translation 1 px", radius=0.08, cost=300.0,
                curve={0.5: 96, 1.0: 88, 2.0: 51},
                reason="175 of 200 inputs stayed right; the whole interval lies above 70 %.",
            ),
            requirement(
                sample, "stranger", "attack_success <= 0.2", Verdict.UNDECIDED, {"square": 12, "pgd": 3},
                "Linf 0.1 or L2 1", adversary="customer", cost=900.0, curve={1.0: 90, 8.0: 88, 64.0: 88},
                reason="15 of 196 inputs fell, but a set that holds every input hurt no more.",
                signs=(
                    Sign(
                        name=SignName.RADIUS_DOES_NOT_HURT,
                        explanation="At 64 times the radius 88 of 100 inputs still stood; there any attack wins.",
                    ),
                    Sign(name=SignName.BROKEN_STRATEGY, explanation="pgd stopped after 3 of 40 steps."),
                ),
                broke={"pgd": "the gradient was NaN in 31 of 184 inputs"},
            ),
            requirement(
                sample, "right-at-all", "clean_accuracy >= 0.95", Verdict.WITHSTOOD, {}, "no perturbation",
                adversary="nobody", reason="196 of 200 inputs are answered rightly.",
            ),
        ],
    ), sample.tensors  # fmt: skip


def table_case() -> tuple[Evidence, dict[str, np.ndarray]]:
    """One violated requirement over rows of a table."""
    sample = wine()
    one = requirement(
        sample, "cellar", "robust_accuracy >= 0.9", Verdict.VIOLATED, {"random": 20, "square": 40}, "Linf 0.05",
        radius=0.05, reason="115 of 178 inputs stayed right.",
    )  # fmt: skip
    return evidence(sample, [one], "wine-taster"), sample.tensors


def write_folder(
    path: Path, case: tuple[Evidence, dict[str, np.ndarray]], timings: dict[str, Any] | None = None
) -> Path:
    """The evidence folder of a case."""
    path.mkdir(parents=True, exist_ok=True)
    found, tensors = case
    (path / "evidence.json").write_bytes(canonical_json(found))
    (path / "policy.yaml").write_text(POLICY)
    save_file(tensors, path / "examples.safetensors")
    if timings is not None:
        (path / "timings.json").write_text(json.dumps(timings))
    return path
