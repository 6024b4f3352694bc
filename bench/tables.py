"""Robust accuracy of three models of Adult against what it may cost to change a row.

python bench/tables.py [--rows N] [--budgets B ...]

A torch network, a logistic regression and a gradient boosting of scikit-learn, on the same test rows.  `feature-search`
plays all of them by scores and by labels alone; gradients (APGD) play the network as well.  Whoever fell at a smaller
budget falls at a larger one.
"""

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
import torch
from safetensors.torch import save_file
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from torch import Tensor

import adult
import adult_model
from common import write
from redoubt.attacks.evasion import APGD, EvasionAttack, FeatureSearch, RandomSearch
from redoubt.games import clopper_pearson, play_round
from redoubt.models import Model, load_model, nowhere
from redoubt.perturb import build_set
from redoubt.policy import parse_policy
from redoubt.records import Access, Budget

QUERIES = 2000
STRATEGIES: tuple[tuple[str, Access, EvasionAttack], ...] = (
    ("feature-search, scores", Access.SCORES, FeatureSearch(queries=QUERIES)),
    ("feature-search, labels", Access.LABEL, FeatureSearch(queries=QUERIES)),
    ("random", Access.LABEL, RandomSearch(samples=QUERIES // 10)),
    ("apgd-ce", Access.GRADIENTS, APGD("ce", steps=100)),
)


def train_network(x: Tensor, y: Tensor, weights: Path, epochs: int = 5) -> None:
    """Adam, ten thousandths a step, batches of 256; saves the weights."""
    torch.manual_seed(0)
    model = adult_model.build()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(256):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    save_file(model.state_dict(), weights)


def prepare(rows: int) -> dict[str, str]:
    """Train the three models; returns their policies by name."""
    layout, (x, y) = adult.prepare(rows)
    shutil.copy(Path(__file__).with_name("adult_model.py"), adult.ADULT / "adult_model.py")
    train_network(torch.from_numpy(x), torch.from_numpy(y), adult.ADULT / "network.safetensors")
    trees = GradientBoostingClassifier(n_estimators=50, max_depth=4, subsample=0.5, random_state=0)
    for name, estimator in (("logistic", LogisticRegression(max_iter=200)), ("boosting", trees)):
        skops.io.dump(estimator.fit(x.astype(np.float64), y), adult.ADULT / f"{name}.skops")
    network = adult.policy(layout, "torch:adult_model:build", "  weights: network.safetensors\n")
    texts = {"network": network} | {
        name: adult.policy(layout, f"sklearn:{name}.skops") for name in ("logistic", "boosting")
    }
    for name, text in texts.items():
        (adult.ADULT / f"{name}.yaml").write_text(text)
    return texts


def robust_at(
    model: Model, attack: EvasionAttack, access: Access, data: tuple[Tensor, Tensor], text: str, budgets: list[float]
) -> list[dict[str, Any]]:
    """Robust accuracy at each budget, smallest first."""
    x, y = data
    file = parse_policy(text.encode(), adult.ADULT / "policy.yaml")
    within = build_set(file.policy.requirements[0].within, model.face)
    standing = model.query(x).labels == y
    found = []
    for budget in budgets:
        rows = standing.nonzero().squeeze(1)
        began = time.perf_counter()
        played = play_round(
            model,
            attack,
            x[rows],
            y[rows],
            within.scaled(budget / 2),
            access,
            Budget(passes=QUERIES),
            torch.Generator().manual_seed(0),
        )
        standing = standing.clone()
        standing[rows[played.fooled]] = False
        interval = clopper_pearson(int(standing.sum()), len(y))
        found.append(
            {
                "budget": budget,
                "robust": int(standing.sum()),
                "of": len(y),
                "interval": [interval.low, interval.high],
                "passes": float(played.meter.passes.float().mean()) if len(rows) else 0.0,
                "seconds": time.perf_counter() - began,
                "broke": played.broke,
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--budgets", type=float, nargs="+", default=[1, 2, 4, 6])
    args = parser.parse_args()
    texts = prepare(args.rows)
    raw = np.load(adult.ADULT / "test.npz")
    data = torch.from_numpy(raw["x"]), torch.from_numpy(raw["y"])
    result: dict[str, Any] = {"rows": args.rows, "queries": QUERIES, "rules": adult.RULES, "models": {}}
    for name, text in texts.items():
        file = parse_policy(text.encode(), adult.ADULT / f"{name}.yaml")
        model = load_model(file.policy.model, adult.ADULT, nowhere)
        clean = int((model.query(data[0]).labels == data[1]).sum())
        mine: dict[str, Any] = {"clean": clean, "curves": {}}
        for title, access, attack in STRATEGIES:
            if access <= model.access:
                mine["curves"][title] = robust_at(model, attack, access, data, text, sorted(args.budgets))
                print(name, title, [point["robust"] for point in mine["curves"][title]], flush=True)
        result["models"][name] = mine
        write("tables", result)


if __name__ == "__main__":
    main()
