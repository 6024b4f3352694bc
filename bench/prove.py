"""Proofs beside Marabou, on networks that this bench trains; certified accuracy of networks trained for it; smoothing.

Every answer is checked: what Marabou and Redoubt say must not contradict, and a counterexample is replayed.  Times are
processor seconds of one thread.  What is finished stands in .bench/out/prove.json and is not done again.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from certified_model import IBP, NOISE, images, load
from prove_networks import READERS, Asked, controller, controller_properties, reader_properties, trained_reader
from redoubt.bounds import Case, Effort, Region, Smoothed, from_torch, misclassified, prove, worst_logits

OUT, KEPT = Path(".bench/out/prove.json"), Path(".bench/prove")
SECONDS = 60.0  # processor seconds for each property
WALL = 6  # times as many seconds of the clock for Marabou, which counts those, beside whatever else this machine does
DRAWS, SELECT, ALPHA = 10_000, 100, 0.001
SMOOTHED, BOUNDED = 200, 200  # test images, evenly spaced


def marabou(net: nn.Sequential, asked: Asked) -> tuple[str, str, float, list[float] | None]:
    """Marabou's answer, in its own words too, processor seconds, its point; convolutions are written out."""
    from maraboupy import Marabou, MarabouCore

    query = MarabouCore.InputQuery()
    layers = _matrices(net, len(asked.lower))
    query.setNumberOfVariables(len(asked.lower) + sum(len(bias) * (2 if bent else 1) for _, bias, bent in layers))
    current, free = list(range(len(asked.lower))), len(asked.lower)
    for at, variable in enumerate(current):
        query.setLowerBound(variable, float(asked.lower[at]))
        query.setUpperBound(variable, float(asked.upper[at]))
        query.markInputVariable(variable, at)
    for weight, bias, bent in layers:
        after = list(range(free, free + len(bias)))
        free += len(bias)
        for row, shift, variable in zip(weight.tolist(), bias.tolist(), after, strict=True):
            equation = MarabouCore.Equation()
            for factor, given in zip(row, current, strict=True):
                if factor:
                    equation.addAddend(factor, given)
            equation.addAddend(-1.0, variable)
            equation.setScalar(-shift)
            query.addEquation(equation)
        current = after
        if bent:
            current = list(range(free, free + len(bias)))
            free += len(bias)
            for given, variable in zip(after, current, strict=True):
                MarabouCore.addReluConstraint(query, given, variable)
    for row, limit in zip(asked.rows.tolist(), asked.limits.tolist(), strict=True):
        equation = MarabouCore.Equation(MarabouCore.Equation.LE)
        for factor, variable in zip(row, current, strict=True):
            if factor:
                equation.addAddend(factor, variable)
        equation.setScalar(limit)
        query.addEquation(equation)
    begun = time.process_time()
    answer, values, _ = MarabouCore.solve(
        query, Marabou.createOptions(verbosity=0, timeoutInSeconds=int(WALL * SECONDS)), ""
    )
    spent = time.process_time() - begun
    told = {"sat": "sat", "unsat": "unsat"}.get(answer, "unknown")
    return told, str(answer), spent, [values[at] for at in range(len(asked.lower))] if told == "sat" else None


def _matrices(net: nn.Sequential, size: int) -> list[tuple[Tensor, Tensor, bool]]:
    """A chain of layers as matrices `[m, n]` and biases, and whether a ReLU follows."""
    found: list[tuple[Tensor, Tensor, bool]] = []
    shape: tuple[int, ...] = (1, 14, 14) if size == 196 else (size,)
    for part in net:
        if isinstance(part, nn.ReLU):
            weight, bias, _ = found.pop()
            found.append((weight, bias, True))
        elif isinstance(part, nn.Flatten):
            shape = (int(torch.tensor(shape).prod()),)
        else:
            part = part.double()
            count = int(torch.tensor(shape).prod())
            zero = part(torch.zeros(1, *shape, dtype=torch.float64))
            unit = part(torch.eye(count, dtype=torch.float64).reshape(count, *shape)) - zero
            found.append((unit.flatten(1).T, zero.flatten(), False))
            part.float()
            shape = tuple(zero.shape[1:])
    return found


def verify(net: nn.Sequential, asked: Asked) -> dict[str, Any]:
    """One property, by both."""
    graph = from_torch(net, (1, 14, 14) if len(asked.lower) == 196 else (len(asked.lower),))
    case = Case(Region(asked.lower[None], asked.upper[None]), asked.rows, asked.limits)
    begun = time.process_time()

    def run(x: Tensor) -> Tensor:
        return net(x.reshape(-1, 1, 14, 14) if x.shape[1] == 196 else x)

    proof = prove(graph, [case], Effort(stop=lambda: time.process_time() - begun > SECONDS), run)
    spent = time.process_time() - begun
    mine = {"proved": "unsat", "counterexample": "sat"}.get(proof.answer, "unknown")
    theirs, said, their_seconds, point = marabou(net, asked)
    replayed = proof.x is None or bool(case.met(proof.x[None].double(), run(proof.x[None])).all())
    theirs_replayed = None
    if point is not None:  # within Marabou's tolerance, in float64
        x = torch.tensor([point], dtype=torch.float64)
        theirs_replayed = bool((graph.frozen()(x) @ asked.rows.T <= asked.limits + 1e-5).all())
    return {
        "property": asked.name,
        "network": asked.network,
        "redoubt": mine,
        "seconds": spent,
        "parts": proof.parts,
        "why": proof.why,
        "replayed": replayed,
        "marabou": theirs,
        "marabou_said": said,
        "marabou_seconds": their_seconds,
        "marabou_replayed": theirs_replayed,
        "contradict": {mine, theirs} == {"sat", "unsat"},
    }


def networks(x: Tensor, y: Tensor) -> dict[str, nn.Sequential]:
    """The networks, trained once and kept."""
    found = {}
    for name in [*READERS, "controller"]:
        path = KEPT / f"{name}.safetensors"
        if path.exists():
            from prove_networks import reader

            net = reader(name) if name in READERS else _empty_controller()
            net.load_state_dict(load_file(path))
            found[name] = net.eval().requires_grad_(False)
        else:
            found[name] = trained_reader(name, x, y) if name in READERS else controller()
            save_file(found[name].state_dict(), path)
    return found


def _empty_controller() -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(5, 30), nn.ReLU()]
    for _ in range(3):
        layers += [nn.Linear(30, 30), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(30, 5))


def certified(name: str, x: Tensor, y: Tensor) -> dict[str, Any]:
    """Certified accuracy by intervals on all test images, and by `prove` on some that intervals do not decide."""
    net, radius = load(name), float(name.partition("-")[2])
    clean = torch.cat([net(part) for part in x.split(500)]).argmax(dim=1) == y
    worst = [
        worst_logits(net, (part - radius).clamp(0, 1), (part + radius).clamp(0, 1), label)
        for part, label in zip(x.split(500), y.split(500), strict=True)
    ]
    by_intervals = torch.cat(worst).argmax(dim=1) == y
    graph, rows = from_torch(net, (1, 28, 28)), range(0, len(x), len(x) // BOUNDED)
    answers = {"intervals": 0, "proved": 0, "counterexample": 0, "unknown": 0, "wrong": 0}
    begun = time.process_time()
    for row in rows:
        if not bool(clean[row]):
            answers["wrong"] += 1
        elif bool(by_intervals[row]):
            answers["intervals"] += 1
        else:
            flat = x[row].double().flatten()[None]
            region = Region((flat - radius).clamp(0, 1), (flat + radius).clamp(0, 1))
            proof = prove(
                graph,
                misclassified(region, int(y[row]), 10),
                Effort(parts=200),
                lambda z: net(z.reshape(-1, 1, 28, 28)),
            )
            answers[proof.answer] += 1
    return {
        "radius": radius,
        "images": len(x),
        "clean": int(clean.sum()),
        "by_intervals": int((by_intervals & clean).sum()),
        "looked_at": len(rows),
        "answers": answers,
        "seconds": time.process_time() - begun,
        "training": json.loads((KEPT / f"{name}.json").read_text())["seconds"],
    }


def smoothed(name: str, x: Tensor, y: Tensor) -> dict[str, Any]:
    """Certified accuracy at L2 radii."""
    net = load(name)
    rows = torch.arange(0, len(x), len(x) // SMOOTHED)
    smooth = Smoothed(lambda z: net(z).argmax(dim=1), NOISE[name], 10, batch=1000)
    begun = time.process_time()
    found = smooth.certify(x[rows], SELECT, DRAWS, ALPHA, torch.Generator().manual_seed(0))
    return {
        "sigma": NOISE[name],
        "images": len(rows),
        "abstained": int((found.label < 0).sum()),
        "right": int((found.label == y[rows]).sum()),
        "accuracy": {f"{radius:g}": found.accuracy(y[rows], radius) for radius in (0.25, 0.5, 0.75, 1.0, 1.25)},
        "seconds": time.process_time() - begun,
    }


def main() -> None:
    """Do what is not done yet; `--limit N` stops after N properties."""
    torch.set_num_threads(1)
    KEPT.mkdir(parents=True, exist_ok=True)
    done: dict[str, Any] = json.loads(OUT.read_text()) if OUT.exists() else {}
    limit = int(sys.argv[sys.argv.index("--limit") + 1]) if "--limit" in sys.argv else 10**6

    def keep() -> None:
        OUT.write_text(json.dumps(done, indent=1))

    folder = Path(os.environ["REDOUBT_DATA"]) / "mnist"
    x, y = images(folder, "train")
    small = F.avg_pool2d(x, 2)
    nets = networks(small[:50_000], y[:50_000])
    asked = [one for name in READERS for one in reader_properties(name, nets[name], small[50_000:], y[50_000:])]
    asked += controller_properties()
    results = done.setdefault("properties", [])
    finished = {result["property"] for result in results}
    for one in asked:
        if one.name in finished:
            continue
        if limit == 0:
            return
        results.append(verify(nets[one.network], one))
        limit -= 1
        keep()
        print(results[-1], file=sys.stderr)
    x, y = images(folder, "test")
    for name in IBP:
        if name not in done:
            done[name] = certified(name, x, y)
            keep()
            print(name, done[name], flush=True)
    for name in NOISE:
        if name not in done:
            done[name] = smoothed(name, x, y)
            keep()
            print(name, done[name], flush=True)


if __name__ == "__main__":
    main()
