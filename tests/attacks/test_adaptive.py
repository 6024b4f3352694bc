"""The adaptive search on broken defences, each broken in its own way; and a healthy model, which it leaves alone."""

import pytest
import torch

import broken
from redoubt.attacks.evasion import Adaptive
from redoubt.attacks.evasion.adaptive.parts import Flaw, Gap, Parts
from redoubt.games.evasion import Round, play_round
from redoubt.models import Face, TorchModel
from redoubt.models.sites import Site
from redoubt.perturb import LinfBall
from redoubt.records import Access, Budget

FACE = Face((1, 8, 8), 0.0, 1.0, 10)


def played(name: str, count: int = 12, passes: int = 1000, radius: float = 0.15) -> Round:
    """The search against inputs that the defence answers rightly."""
    model = TorchModel(broken.build(name), FACE)
    _, _, x, y = broken.digits()
    x, y = x[: 2 * count], y[: 2 * count]
    torch.manual_seed(0)
    right = (model.query(x).labels == y).nonzero().squeeze(1)[:count]
    rng = torch.Generator().manual_seed(0)
    return play_round(
        model, Adaptive(passes=passes), x[right], y[right], LinfBall(radius, 0.0, 1.0), Access.GRADIENTS, Budget(), rng
    )


def flaws(found: Round) -> dict[str, str]:
    (note,) = found.meter.notes
    return {part.part: part.flaw for part in note.parts}


def test_a_jump_counts_if_it_is_seen_again():
    entry = Site("", 0, "in")

    def gap(name: str, flaw: Flaw) -> Gap:
        return Gap((entry,), Site(name, 0, "out"), name, flaw, ((4,),), (4,))

    once = Parts((gap("rounds", Flaw.JUMPING), gap("bends", Flaw.JUMPING), gap("cuts", Flaw.ABSENT)), (), {})
    again = Parts((gap("rounds", Flaw.JUMPING),), (), {})
    assert [each.part for each in (once & again).gaps] == ["rounds", "cuts"]


def test_a_healthy_model_is_left_alone():
    found = played("plain", radius=0.02)
    assert flaws(found) == {}
    assert found.broke is None
    assert int(found.meter.passes.max()) < 80


@pytest.mark.parametrize(
    ("name", "part", "flaw"),
    [
        ("compresses", "0", "absent"),
        ("inline", "between the model in and inner in", "vanishing"),
        ("winners", "1", "misleading"),
        ("thermometer", "0", "absent"),
        ("jitters", "0", "random"),
        ("vote", "between members.2.5 out and the model out", "absent"),
        ("squeezes", "a detector", "refuses"),
        ("neighbours", "a detector", "refuses"),
        ("unsure", "a detector", "refuses"),
    ],
)
def test_what_is_broken_is_found_and_broken_through(name, part, flaw):
    found = played(name, radius={"refuses": 0.3, "random": 0.25}.get(flaw, 0.15))
    assert found.broke is None
    assert flaws(found).get(part) == flaw, flaws(found)
    assert found.fooled.float().mean() >= 0.5
    assert found.meter.notes[0].mended or found.fooled.float().mean() >= 0.75  # votes seldom move with a step
    assert int(found.meter.passes.max()) <= 1000
