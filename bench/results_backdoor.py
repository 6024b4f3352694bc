"""The section of docs/results.md on backdoors: planted, looked for, repaired."""

from collections.abc import Iterable, Sequence
from typing import Any

from common import names, told

_SETS = {"mnist": "MNIST", "gtsrb": "GTSRB"}
_WAYS = (
    "fine-tuning alone",
    "pruning alone",
    "fine-pruning",
    "adversarial pruning",
    "unlearning",
    "quarantine",
)
_STANDS_OUT = 0.5  # of `redoubt repair`
_FAMILIES = ("neural-cleanse", "pixel", "spread", "bending")


def _all(step: str) -> list[tuple[str, dict[str, Any]]]:
    """Results of a step, as pairs of their set and themselves."""
    return [(_SETS.get(name.split("-")[1], name), told(name)) for name in names(f"backdoor/{step}-*")]


def _share(measure: dict[str, float]) -> str:
    return f"{100 * measure['value']:.1f} % ({100 * measure['low']:.1f}–{100 * measure['high']:.1f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterable[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|---" + "|---:" * (len(head) - 1) + "|"
    for row in rows:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"
    yield ""


def planted() -> Iterable[str]:
    """What was planted, and what it does."""
    planted = _all("plant")
    if not planted:
        return
    yield "## Backdoors\n"
    yield (
        "Small networks (`bench/backdoor_ground.py`), one seed each: MNIST with 12,000 training images and all test "
        "images; GTSRB with all 43 classes at 32 x 32 pixels, a sixth of the training frames of which 15 % of the "
        "tracks are the defender's, and a third of the test images. The defender's images (2,000 of MNIST, 980 of "
        "GTSRB) are training images that nobody trained on. How strong blends, warps and perturbations are was chosen "
        "on those; the share of poison and the length of training on GTSRB, and radius and steps of adversarial "
        "pruning, were changed once after test figures had been seen. Intervals are 95 % (Clopper and Pearson).\n"
    )
    yield "### Planted\n"
    yield from _table(
        ("set, kind", "poison, covers", "clean accuracy", "of the twin", "attack success", "on the twin"),
        (
            (
                f"{where}, {row['kind']}",
                f"{row['rows'] / row['of']:.1%}, {row['covers'] / row['of']:.1%}",
                _share(row["planted"]["clean_accuracy"]),
                f"{100 * row['twin']['clean_accuracy']['value']:.1f} %",
                _share(row["planted"]["attack_success"]),
                f"{100 * row['twin']['attack_success']['value']:.1f} %",
            )
            for where, row in planted
        ),
    )
    patches = [(where, row) for where, row in planted if row["kind"] == "badnets patch"]
    for where, row in patches:
        lost = row["twin"]["clean_accuracy"]["value"] - row["planted"]["clean_accuracy"]["value"]
        met = lost <= 0.01 and row["planted"]["attack_success"]["value"] > 0.95
        yield (
            f"BadNets patch on {where}: {100 * lost:.1f} points below the twin (aim <= 1), attack success "
            f"{100 * row['planted']['attack_success']['value']:.1f} % (aim > 95 %): {'met' if met else '**missed**'}.\n"
        )


def data() -> Iterable[str]:
    """How well poison is found in the data, and stamped inputs at run time."""
    rows = _all("data")
    overlays = {(where, row["kind"]): row for where, row in _all("overlay")}
    if not rows:
        return
    yield "### Poison in the data, and stamped inputs at run time\n"
    yield (
        "AUROC of poisoned rows against the other rows of their class (spectral signatures, activation clustering), or "
        "of the whole set (self-influence); *removed* by spectral signatures at 1.5 times the true share, poison and "
        "others of all classes; *carried*: share of poison among the 20 training rows whose last-layer gradients speak "
        "most for the answers to ten stamped inputs. STRIP: 16 overlays, 250 clean inputs against the caught of 250 "
        "stamped ones; *passed* at 5 % false alarms. 0.5 is chance; below it the score says the contrary.\n"
    )
    cells = []
    for where, row in rows:
        strip = overlays.get((where, row["kind"]))
        cells.append(
            (
                f"{where}, {row['kind']}",
                f"{row['expected']:.0%}",
                f"{row['spectral']:.3f}",
                f"{row['removed']:.0%}, {row['removed_clean']:.0%}",
                f"{row['clusters']:.3f}",
                f"{row['self_influence']:.3f}",
                f"{row['carried']:.0%}",
                f"{strip['auroc']:.3f}" if strip else "–",
                f"{strip['passed_at_5_percent']:.0%}" if strip else "–",
            )
        )
    heads = ("set, kind", "share of class", "spectral", "removed", "clusters", "self-influence", "carried")
    yield from _table((*heads, "STRIP", "passed"), cells)
    few = [row for where, row in rows if row["kind"] == "badnets patch, few"]
    for row in few:
        yield (
            f"Spectral signatures at the paper's setting (poison is {row['expected']:.0%} of its class) removed "
            f"{row['removed']:.0%} of the poison (aim > 90 %): {'met' if row['removed'] > 0.9 else '**missed**'}.\n"
        )


def repaired() -> Iterable[str]:
    """Each way of repair by itself."""
    rows = _all("repair")
    if not rows:
        return
    yield "### Repaired\n"
    yield (
        "Clean accuracy, and attack success, on test images; the defender has the clean images named above and no "
        "trigger. *Unlearning* trains on the triggers that inversion recovered for the class that stands out most; "
        "*quarantine* sees half of the test images arrive, one in five of them stamped.\n"
    )
    yield from _table(
        ("set, kind", "before", *_WAYS),
        (
            (
                f"{where}, {row['kind']}",
                *(
                    f"{100 * row[way]['clean_accuracy']['value']:.1f}, {_share(row[way]['attack_success'])}"
                    for way in ("before", *_WAYS)
                ),
            )
            for where, row in rows
        ),
    )
    for where, row in rows:
        before = row["before"]["clean_accuracy"]["value"]
        best = min(_WAYS, key=lambda way, r=row: r[way]["attack_success"]["value"])
        left, lost = row[best]["attack_success"]["value"], before - row[best]["clean_accuracy"]["value"]
        met = "met" if left < 0.05 and lost < 0.02 else "**missed**"
        yield (
            f"{where}, {row['kind']}: best of these is {best}, which leaves {left:.1%} at a price of {100 * lost:.1f} "
            f"points (aim < 5 % at < 2): {met}.\n"
        )


def spectre() -> Iterable[str]:
    """Poison that is a tenth of its class, with and without whitening."""
    rows = _all("spectre")
    if not rows:
        return
    yield "### Poison that hides in what a class varies in by nature\n"
    yield (
        "The setting of Tran, Li and Madry: poison is a tenth of its class, and 1.5 times as many rows are removed, by "
        "the features before the last layer. Before and after whitening by the covariance of the class without its "
        "outliers (SPECTRE, Hayase et al., its filter replaced by concentration steps); the numbers of dimensions are "
        "those of its authors. It was tried once, and nothing changed, on other models (another seed and "
        "target, other tracks); there a digit's first direction says nothing of the poison, which lies in the fifth, "
        "while a traffic sign's is the poison's, as in the paper.\n"
    )
    ways = ("spectral signatures", "SPECTRE")
    yield from _table(
        (
            "set",
            "poison, of class",
            "attack success",
            *(f"{way}, {what}" for way in ways for what in ("AUROC", "removed, of the others")),
        ),
        (
            (
                where,
                f"{row['rows']} rows, {row['expected']:.0%}",
                _share(row["planted"]["attack_success"]),
                *(
                    cell
                    for way in ways
                    for cell in (
                        f"{row['ways'][way]['auroc']:.3f}",
                        f"{row['ways'][way]['removed']:.0%}, {row['ways'][way]['removed_clean']:.0%}",
                    )
                ),
            )
            for where, row in rows
        ),
    )
    for where, row in rows:
        for way in ways:
            found = row["ways"][way]["removed"]
            yield f"{where}, {way}: {found:.0%} (aim > 90 %): {'met' if found > 0.9 else '**missed**'}.\n"


def cleansed() -> Iterable[str]:
    """Repeated unlearning, by which `redoubt repair` works."""
    rows = _all("cleanse")
    if not rows:
        return
    yield "### Repaired again and again\n"
    yield (
        "`redoubt repair`: triggers of the suspected class are inverted and unlearnt, and searched anew, while the "
        "suspect's own answers hold the rest in place. Figures are of test images. Weights of the losses, margin and "
        "length of a lesson were chosen on six other models (other seeds, targets and, of GTSRB, other tracks, which "
        "were left out of their training). The price is judged on a quarter of the defender's images, whole tracks. "
        "*Hardness*: how many times as large the smallest trigger of the suspected class is as that of the median "
        "class, before and after. The planter of *inversion-aware* has trained against the defender's search. "
        f"Where no class is below {_STANDS_OUT:g}, the command begins no round unless one is named; here rounds were "
        "played all the same.\n"
    )
    yield from _table(
        ("set, kind", "clean accuracy", "attack success before", "after", "suspect", "hardness", "rounds", "seconds"),
        (
            (
                f"{where}, {row['kind']}",
                f"{100 * row['before']['clean_accuracy']['value']:.1f} % to {_share(row['after']['clean_accuracy'])}",
                _share(row["before"]["attack_success"]),
                _share(row["after"]["attack_success"]),
                _suspected(row),
                f"{row['hardness'][0]:.2f} to {row['hardness'][1]:.2f}",
                row["rounds"],
                f"{row['seconds']:.0f}",
            )
            for where, row in rows
        ),
    )
    for where, row in rows:
        lost = row["before"]["clean_accuracy"]["value"] - row["after"]["clean_accuracy"]["value"]
        left = row["after"]["attack_success"]["value"]
        met = "met" if left < 0.05 and lost < 0.02 else "**missed**"
        price = f"{left:.1%} left at a price of {100 * lost:.1f} points"
        yield f"{where}, {row['kind']}: {price} (aim < 5 % at < 2): {met}.\n"
    for where, row in _all("named"):
        yield (
            f"{where}, {row['kind']}, by a defender who names the class (`--class`): "
            f"{_share(row['after']['attack_success'])} left, clean accuracy "
            f"{row['before']['clean_accuracy']['value']:.1%} to {row['after']['clean_accuracy']['value']:.1%}.\n"
        )
    for where, row in _all("twin"):
        was, (before, after) = row["hardness"][0], row["clean"]
        said = "suspected, wrongly" if was < _STANDS_OUT else "let alone"
        yield (
            f"{where}, clean twin: the class that stands out most is {was:.2f} times as hard to reach as the median "
            f"one, so the model is {said} (limit {_STANDS_OUT:g}); repaired all the same, it would be right "
            f"{after:.1%} of the time instead of {before:.1%}.\n"
        )


def _suspected(row: dict[str, Any]) -> str:
    if "all-to-all" in row["kind"]:
        return "–"
    return "right" if row["suspect"] == row["target"] else "**wrong**"


def detected() -> Iterable[str]:
    """Which of many models are suspected."""
    rows = _all("detect")
    clean = [row for _, row in rows if row["kind"] == "clean"]
    planted = [row for _, row in rows if row["kind"] != "clean"]
    if not clean or not planted:
        return
    took = [row for row in planted if row["measures"]["attack_success"]["value"] >= 0.5]
    yield "### Models that are suspected\n"
    yield (
        f"{len(clean)} clean and {len(planted)} planted models, each with its own seed and target class: MNIST at 14 x "
        "14 pixels, and the ten most frequent signs of GTSRB at 16 x 16; kinds as below. "
        "Searches of 100 steps. AUROC of planted against clean models by the greatest anomaly index (Wang et al.), by "
        "the shrinkage (how many times smaller the smallest trigger is than the median), and by the meta-score, the "
        "mean of the two greatest shrinkages, which was thought out on four other models and fitted on none. "
        f"In {len(took)} planted models the trigger works at least half of the time.\n"
    )
    cells = []
    scores = {
        **{
            f"{family}, {key}": (lambda row, f=family, k=key: row["families"][f][k])
            for family in _FAMILIES
            for key in ("index", "shrinkage")
        },
        "meta-score": lambda row: row["meta"],
    }
    for name, score in scores.items():
        few = [score(row) for row in clean]
        cells.append((name, *(f"{_auroc([score(row) for row in some], few):.3f}" for some in (planted, took))))
    yield from _table(("score", f"all {len(planted)}", f"the {len(took)} that work"), cells)
    highest = max(row["meta"] for row in clean)
    kinds = sorted({row["kind"] for row in planted})
    yield "Models whose meta-score is above that of every clean model, and whose suspected class is the target:\n"
    yield from _table(
        ("kind", "models", "above", "right class", "attack success"),
        (
            (
                kind,
                len(mine := [row for row in planted if row["kind"] == kind]),
                sum(row["meta"] > highest for row in mine),
                sum(_suspect(row) == row["target"] for row in mine) if "all-to-all" not in kind else "–",
                ", ".join(f"{row['measures']['attack_success']['value']:.0%}" for row in mine),
            )
            for kind in kinds
        ),
    )


def _suspect(row: dict[str, Any]) -> int:
    best = max(row["families"].values(), key=lambda family: family["shrinkage"])
    return int(best["suspect"])


def _auroc(suspect: Sequence[float], others: Sequence[float]) -> float:
    wins = sum((a > b) + (a == b) / 2 for a in suspect for b in others)
    return wins / max(len(suspect) * len(others), 1)


def transferred() -> Iterable[str]:
    """What is left of a backdoor after training on another task."""
    rows = _all("transfer")
    if not rows:
        return
    yield "### Through transfer\n"
    yield (
        "A teacher with a backdoor, or its clean twin; a student that keeps the teacher's layers and trains the last "
        "one, or all of them, on another task. *Moved*: answers that change when the trigger is laid on; *favourite*: "
        "the greatest share of stamped inputs in one class. Beside the clean teacher's, they are what survived.\n"
    )
    yield from _table(
        ("task, kind, teacher and training", "clean accuracy", "stamped accuracy", "moved", "favourite"),
        (
            (
                f"{row['pair']}, {row['kind']}, {name}",
                *(f"{one[key]:.1%}" for key in ("clean", "stamped", "moved", "favourite_share")),
            )
            for _, row in rows
            for name, one in row.items()
            if isinstance(one, dict)
        ),
    )
