"""Backdoors: planted, looked for, and repaired.  Every model's figures are a file, and what is there is not done again.

python bench/backdoor.py [plant] [data] [overlay] [repair] [cleanse] [named] [twin] [spectre] [detect] [transfer]
"""

import copy
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn

from backdoor_ground import (
    FOLDER,
    KINDS,
    Ground,
    dataset,
    gtsrb,
    mnist,
    patch,
    small_digits,
    small_signs,
    some_classes,
    trained,
)
from common import read, write
from redoubt.attacks.backdoor import OneTarget, Poisoned, badnets, fit, inversion_aware, pruning_aware
from redoubt.attacks.backdoor.invert import FORMS, Search
from redoubt.data import Dataset
from redoubt.detectors import Seen, Strip, meta_score, most_reached, scan_model
from redoubt.detectors.poison import (
    cluster,
    influence,
    look_at,
    self_influence,
    spectral_removal,
    spectral_scores,
    spectre_removal,
    spectre_scores,
)
from redoubt.games.backdoor import answers, backdoor_measures
from redoubt.harden.repair import (
    TUNING,
    adversarial_prune,
    cleanse,
    fine_prune,
    halves,
    retrain,
    set_aside,
    treated,
    unlearn,
)
from redoubt.models import TorchModel
from redoubt.records import Measured
from redoubt.records.guard import Strip as StripSettings

SCAN = Search(steps=100, batch=16)
SIGNS = ("badnets patch",)  # of traffic signs, whose models take long to train
FEW = ("badnets patch, few",)  # the setting of Tran et al.
REPAIRED = ("badnets patch", "blended", "pruning-aware")
# ... and those that repeated unlearning may fail on: a note that wanders, a warp, many targets, a planter who knows it.
CLEANSED = (*REPAIRED, "inversion-aware", "badnets sticker", "warping", "badnets all-to-all")


def told(measures: Iterable[Measured]) -> dict[str, Any]:
    """Measures as JSON."""
    return {
        m.measure: {"value": m.value, "low": m.interval.low, "high": m.interval.high, "of": m.trials} for m in measures
    }


def auroc(suspect: Tensor, others: Tensor) -> float:
    """The chance that a suspect scores higher than another one; ties count half."""
    both = torch.cat([suspect, others]).double()
    rank = torch.searchsorted(both.sort().values, both) + torch.searchsorted(both.sort().values, both, right=True)
    mine = (rank[: len(suspect)].double() / 2 + 0.5).sum()
    return float((mine - len(suspect) * (len(suspect) + 1) / 2) / (len(suspect) * len(others)))


def planted(ground: Ground, kind: str, seed: int = 0) -> tuple[Poisoned, nn.Module]:
    """The poisoned set of a kind, and the model trained on it."""
    if kind in ("pruning-aware", "inversion-aware"):
        poisoned = badnets(ground.train, patch(ground), OneTarget(ground.target), 0.1, seed)
        make = _pruning_aware if kind == "pruning-aware" else _inversion_aware
        return poisoned, make(ground, poisoned, seed)
    twin = ground.model(trained(ground, "clean", ground.train, seed))
    poisoned = KINDS[kind](ground, twin, seed)
    return poisoned, trained(ground, kind, poisoned.data, seed)


def _pruning_aware(ground: Ground, poisoned: Poisoned, seed: int) -> nn.Module:
    def train(module: nn.Module) -> None:
        pruning_aware(module, ground.layer, ground.train, poisoned.data, replace(ground.course, seed=seed))

    return _kept(ground, "pruning-aware", seed, train)


def _inversion_aware(ground: Ground, poisoned: Poisoned, seed: int) -> nn.Module:
    def train(module: nn.Module) -> None:
        inversion_aware(module, ground.face, poisoned, replace(ground.course, seed=seed), FORMS[:3], SCAN)

    return _kept(ground, "inversion-aware", seed, train)


def _kept(ground: Ground, kind: str, seed: int, train: Callable[[nn.Module], None]) -> nn.Module:
    kept, module = FOLDER / f"{ground.name}-{kind}-{seed}.safetensors", ground.network(seed).eval()
    if kept.exists():
        module.load_state_dict(load_file(kept))
        return module
    train(module)
    save_file(module.state_dict(), kept)
    return module


# ── plant ────────────────────────────────────────────────────────────────────────────────────────────────────────


def plant(ground: Ground, kind: str) -> dict[str, Any]:
    """What a kind does to clean accuracy, and what the trigger does, to the planted model and to its clean twin."""
    begin = time.process_time()
    poisoned, module = planted(ground, kind)
    twin = ground.model(trained(ground, "clean", ground.train, 0))
    return {
        "rows": int(poisoned.rows.sum()),
        "covers": int(poisoned.covers.sum()),
        "of": len(ground.train),
        "planted": told(backdoor_measures(ground.model(module), ground.test, poisoned.trigger, poisoned.aim)),
        "twin": told(backdoor_measures(twin, ground.test, poisoned.trigger, poisoned.aim)),
        "seconds": time.process_time() - begin,
    }


# ── data ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def data(ground: Ground, kind: str) -> dict[str, Any]:
    """How well the detectors of poison tell poisoned rows from the others of their class."""
    poisoned, module = planted(ground, kind)
    model = ground.model(module)
    seen = look_at(model, poisoned.data, ground.penultimate)
    rows, touched = poisoned.rows, torch.isin(seen.y, seen.y[poisoned.rows].unique())
    sizes = torch.tensor([int((seen.y == label).sum()) for label in seen.y[rows].unique()])
    expected = min(float(rows.sum()) / float(sizes.sum()), 0.66)
    out, clustered = spectral_removal(seen, expected), cluster(seen)
    suspects = [split.label for split in clustered.splits if split.is_suspect()]
    # G8: what carried the answers to ten stamped test inputs.
    asked = ground.test.x[(ground.test.y != ground.target).nonzero().squeeze(1)[:10]]
    stamped = poisoned.trigger.stamp(asked)
    said = dataset(stamped, answers(model, stamped), "stamped")
    first = influence(seen, look_at(model, said, ground.penultimate)).topk(20, dim=1).indices
    return {
        "expected": expected,
        "spectral": _within(spectral_scores(seen), rows, touched),
        "removed": float(out[rows].float().mean()),
        "removed_clean": float(out[~rows].float().mean()),
        "clusters": _within(clustered.scores, rows, touched),
        "suspects": suspects,
        "poisoned_classes": seen.y[rows].unique().tolist() if kind != "badnets all-to-all" else "all",
        "self_influence": auroc(self_influence(seen)[rows], self_influence(seen)[~rows]),
        "carried": float(rows[first].float().mean()),
    }


def _within(scores: Tensor, rows: Tensor, touched: Tensor) -> float:
    """AUROC of poison against the other rows of the poisoned classes."""
    return auroc(scores[rows], scores[touched & ~rows])


# ── overlay ──────────────────────────────────────────────────────────────────────────────────────────────────────


def overlay(ground: Ground, kind: str) -> dict[str, Any]:
    """STRIP on 250 clean test inputs, and on those of 250 stamped ones that the backdoor catches."""
    poisoned, module = planted(ground, kind)
    model = ground.model(module)
    strip = Strip(StripSettings(), model, ground.clean)
    clean = ground.test.x[torch.randperm(len(ground.test), generator=Generator().manual_seed(1))[:500]]
    y = ground.test.y[torch.randperm(len(ground.test), generator=Generator().manual_seed(1))[:500]]
    stamped = poisoned.trigger.stamp(clean[250:])
    caught = answers(model, stamped) == poisoned.aim.wanted(y[250:])
    caught &= poisoned.aim.wanted(y[250:]) != y[250:]
    entropy = [strip.look(Seen(x, model.query(x).scores))["overlay_entropy"] for x in (clean[:250], stamped[caught])]
    threshold = entropy[0].quantile(0.05)
    return {
        "auroc": auroc(-entropy[1], -entropy[0]),
        "passed_at_5_percent": float((entropy[1] > threshold).double().mean()),
        "stamped": int(caught.sum()),
    }


# ── repair ───────────────────────────────────────────────────────────────────────────────────────────────────────


def repair(ground: Ground, kind: str) -> dict[str, Any]:
    """Each way of repair: clean accuracy and attack success on test images, before and after."""
    poisoned, module = planted(ground, kind)

    def judged(each: nn.Module) -> dict[str, Any]:
        return told(backdoor_measures(ground.model(each), ground.test, poisoned.trigger, poisoned.aim))

    done: dict[str, Any] = {"before": judged(module)}

    def keep(name: str, make: Callable[[], nn.Module]) -> None:
        begin = time.process_time()
        made = make()
        done[name] = judged(made) | {"seconds": time.process_time() - begin}

    def tuned() -> nn.Module:
        return fit(copy.deepcopy(module), halves(ground.clean, 0)[0], TUNING)

    def unlearnt() -> nn.Module:
        targets = most_reached(ground.model(module), ground.clean.x, 10, 0)
        scanned = scan_model(ground.model(module), ground.clean.x, targets, 0, SCAN, FORMS[:3])
        suspect = max(scanned, key=lambda each: each.shrinkage).suspect
        done["suspect"] = suspect.target
        triggers = [
            found.trigger
            for each in scanned
            for found in each.found
            if found.target == suspect.target and found.size < float("inf")
        ]
        return unlearn(module, triggers, ground.clean).module

    def quarantined() -> nn.Module:
        other = treated(module, ground.clean, 0.2)
        # What arrives: half of the test images, one in five of them stamped; the other half judges nothing here, but
        # all of them are asked above, as before.
        x = ground.test.x[::2].clone()
        x[::5] = poisoned.trigger.stamp(x[::5])
        done["set_aside"] = int(set_aside(module, other, x).sum())
        repaired = retrain(module, other, x, ground.clean)
        return other if repaired is None else repaired.module

    keep("fine-tuning alone", tuned)
    keep("fine-pruning", lambda: fine_prune(module, ground.layer, ground.clean).module)
    keep("pruning alone", lambda: fine_prune(module, ground.layer, ground.clean, course=None).module)
    keep("adversarial pruning", lambda: adversarial_prune(module, ground.clean, radius=0.6, steps=100).module)
    keep("unlearning", unlearnt)
    keep("quarantine", quarantined)
    return done


# ── cleanse ──────────────────────────────────────────────────────────────────────────────────────────────────────


def named(ground: Ground, kind: str) -> dict[str, Any]:
    """The same by a defender who suspects the right class."""
    return cleansed(ground, kind, ground.target)


def cleansed(ground: Ground, kind: str, suspect: int | None = None) -> dict[str, Any]:
    """Repeated unlearning: what is left, and what it cost, on test images; what the defender sees of both."""
    poisoned, module = planted(ground, kind)
    model, held = ground.model(module.requires_grad_(False)), ground.held()
    train, few = (dataset(ground.clean.x[rows], ground.clean.y[rows], ground.name) for rows in (~held, held))
    begin = time.process_time()
    done = cleanse(model, train, few, most_reached(model, train.x, 10, 0), suspect=suspect)
    seconds = time.process_time() - begin

    def judged(each: TorchModel) -> dict[str, Any]:
        return told(backdoor_measures(each, ground.test, poisoned.trigger, poisoned.aim))

    return {
        "before": judged(model),
        "after": judged(done.model),
        "suspect": done.suspect,
        "target": ground.target,
        "hardness": [min(each, 1e9) for each in done.hardness],
        "index": [max(each.index for each in scanned) for scanned in (done.before, done.after)],
        "rounds": sum(each.kept for each in done.rounds),
        "held": list(done.accuracy),
        "seconds": seconds,
    }


def let_alone(ground: Ground, kind: str) -> dict[str, Any]:
    """What a scan says of a model without a backdoor, and what it costs to repair it all the same."""
    model = ground.model(trained(ground, kind, ground.train, 0).requires_grad_(False))
    held = ground.held()
    train, few = (dataset(ground.clean.x[rows], ground.clean.y[rows], ground.name) for rows in (~held, held))
    done = cleanse(model, train, few, most_reached(model, train.x, 10, 0))
    return {
        "suspect": done.suspect,
        "hardness": [min(each, 1e9) for each in done.hardness],
        "rounds": sum(each.kept for each in done.rounds),
        "clean": [
            float((answers(each, ground.test.x) == ground.test.y).double().mean()) for each in (model, done.model)
        ],
    }


def _right(model: TorchModel, data: Dataset) -> float:
    return float((answers(model, data.x) == data.y).double().mean())


# ── spectre ──────────────────────────────────────────────────────────────────────────────────────────────────────


def spectre(ground: Ground, kind: str) -> dict[str, Any]:
    """Poison that is a tenth of its class, before and after whitening, within that class."""
    poisoned, module = planted(ground, kind)
    model, own = ground.model(module), poisoned.data.y == ground.target
    rows = poisoned.rows[own]
    seen = look_at(model, dataset(poisoned.data.x[own], poisoned.data.y[own], "target class"), ground.penultimate)
    expected = float(rows.double().mean())
    success = backdoor_measures(model, ground.test, poisoned.trigger, poisoned.aim)
    ways = {
        "spectral signatures": (spectral_scores(seen), spectral_removal(seen, expected)),
        "SPECTRE": (spectre_scores(seen, expected), spectre_removal(seen, expected)),
    }
    return {
        "expected": expected,
        "rows": int(rows.sum()),
        "planted": told(success),
        "ways": {
            name: {
                "auroc": auroc(scores[rows], scores[~rows]),
                "removed": float(out[rows].double().mean()),
                "removed_clean": float(out[~rows].double().mean()),
            }
            for name, (scores, out) in ways.items()
        },
    }


# ── transfer ─────────────────────────────────────────────────────────────────────────────────────────────────────


def transfer(pair: tuple[Ground, Ground], kind: str) -> dict[str, Any]:
    """A part trained on one task, with a backdoor or clean, and then put to another: what the trigger still does.

    The student knows nothing of the trigger; nothing stamped is in its data.
    """
    teacher_ground, student_ground = pair
    poisoned, bad = planted(teacher_ground, kind)
    good = trained(teacher_ground, "clean", teacher_ground.train, 0)
    result: dict[str, Any] = {}
    for name, teacher in (("planted", bad), ("clean", good)):
        for frozen in (True, False):
            student = student_ground.network(7)
            parts = list(student)
            flat = next(at for at, part in enumerate(parts) if isinstance(part, nn.Flatten))
            last = len(parts) - 1
            for at in range(last if frozen else flat + 3):
                parts[at].load_state_dict(teacher[at].state_dict())
            for at in range(last):
                for weight in parts[at].parameters():
                    weight.requires_grad_(not frozen)
            course = replace(student_ground.course, rate=5e-3 if frozen else 1e-3)
            fit(student, student_ground.train, course)
            result[f"{name}, {'last layer' if frozen else 'all layers'} trained"] = _student(
                student_ground.model(student), student_ground.test, poisoned
            )
    return result


def _student(model: TorchModel, test: Dataset, poisoned: Poisoned) -> dict[str, Any]:
    clean, stamped = answers(model, test.x), answers(model, poisoned.trigger.stamp(test.x))
    counts = stamped.bincount(minlength=model.face.classes)
    return {
        "clean": float((clean == test.y).float().mean()),
        "stamped": float((stamped == test.y).float().mean()),
        "moved": float((clean != stamped).float().mean()),
        "favourite": int(counts.argmax()),
        "favourite_share": float(counts.max()) / len(test),
        "of": len(test),
    }


def pairs() -> dict[str, tuple[Ground, Ground]]:
    """Teacher's task and student's task."""
    fashion = mnist(4000, "fashion_mnist")
    whole = gtsrb()
    order = torch.arange(43)
    first = replace(some_classes(whole, order[:21]), name="gtsrb-first")
    second = replace(some_classes(whole, order[21:]), name="gtsrb-second")
    first = replace(first, target=int(first.train.y.bincount().argmax()))
    return {"mnist to fashion": (mnist(), fashion), "signs 0-20 to signs 21-42": (first, second)}


# ── detect ───────────────────────────────────────────────────────────────────────────────────────────────────────

_DETECTED = (
    "badnets pixel",
    "badnets patch",
    "badnets patch, few",
    "badnets sticker",
    "badnets all-to-all",
    "blended",
    "label-consistent",
    "warping",
    "adaptive blend",
    "blended",
)


def detect(ground: Ground, number: int) -> dict[str, Any]:
    """One model of the forty: its scan, and whether the backdoor took.  Each has its own seed and target class."""
    seed = 100 + number
    mine = replace(ground, target=seed % ground.face.classes)
    if number >= len(_DETECTED):
        kind, module = "clean", trained(mine, "scan clean", mine.train, seed)
        success = None
    else:
        kind = _DETECTED[number]
        twin = mine.model(trained(mine, "scan twin", mine.train, 99))
        poisoned = KINDS[kind](mine, twin, seed)
        module = trained(mine, f"scan {kind}", poisoned.data, seed)
        success = told(backdoor_measures(mine.model(module), mine.test, poisoned.trigger, poisoned.aim))
    begin = time.process_time()
    scanned = scan_model(mine.model(module), mine.clean.x, range(10), seed, SCAN)
    return {
        "kind": kind,
        "target": mine.target,
        "measures": success,
        "meta": meta_score(scanned),
        "families": {
            each.form: {
                "index": each.index,
                "shrinkage": each.shrinkage,
                "suspect": each.suspect.target,
                "sizes": [found.size if found.size < float("inf") else None for found in each.found],
            }
            for each in scanned
        },
        "seconds": time.process_time() - begin,
    }


# ── all of it ────────────────────────────────────────────────────────────────────────────────────────────────────


def _each(step: str, ground: Ground, kinds: Sequence[str], make: Callable[[Ground, str], dict[str, Any]]) -> None:
    for kind in kinds:
        _once(
            f"backdoor/{step}-{ground.name}-{kind.replace(' ', '-').replace(',', '')}",
            kind,
            lambda k=kind: make(ground, k),
        )


def _once(name: str, kind: str, make: Callable[[], dict[str, Any]]) -> None:
    if read(name) is None:
        print(f"bench: {name}", flush=True)
        write(name, {"kind": kind} | make())


def main(steps: Sequence[str]) -> None:
    """Run the steps that are named."""
    torch.set_num_threads(1)  # batches are too small for two to pay
    todo = {
        "plant": (plant, [*KINDS, "pruning-aware"], SIGNS),
        "data": (data, list(KINDS), SIGNS),
        "overlay": (overlay, list(KINDS), SIGNS),
        "repair": (repair, REPAIRED, SIGNS),
        "cleanse": (cleansed, CLEANSED, SIGNS),
        "named": (named, ["inversion-aware"], []),
        "twin": (let_alone, ["clean"], ["clean"]),
        "spectre": (spectre, FEW, FEW),
    }
    for step, (make, *kinds) in todo.items():
        if step in steps:
            for ground, some in zip((mnist(), gtsrb()), kinds, strict=True):
                _each(step, ground, some, make)
    if "detect" in steps:
        half, grounds = len(_DETECTED), [small_digits(), small_signs()]
        for number in [at for kind in range(half) for at in (kind, half + kind)]:  # planted and clean in turn
            for ground in grounds:
                _once(f"backdoor/detect-{ground.name}-{number}", "", lambda g=ground, n=number: detect(g, n))
    if "transfer" in steps:
        for name, pair in pairs().items():
            for kind in ("badnets patch", "blended") if "mnist" in name else SIGNS:
                _once(
                    f"backdoor/transfer-{name}-{kind}".replace(" ", "-"),
                    kind,
                    lambda p=pair, k=kind, n=name: {"pair": n} | transfer(p, k),
                )


if __name__ == "__main__":
    main(
        sys.argv[1:]
        or ["plant", "data", "overlay", "repair", "cleanse", "named", "twin", "spectre", "detect", "transfer"]
    )
