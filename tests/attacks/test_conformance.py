"""Every evasion attack, in every kind of set that it plays, owes the same."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from redoubt.attacks.evasion import (
    APGD,
    FMN,
    NES,
    PGD,
    Adaptive,
    CarliniWagner,
    Cascade,
    DeepFool,
    EvasionAttack,
    FeatureSearch,
    GridSearch,
    HopSkipJump,
    Oars,
    PatchEOT,
    RandomSearch,
    RayS,
    SigmaZero,
    Square,
    TargetedAPGD,
    Transfer,
    Universal,
    WorstCorruption,
    WorstOfK,
    WorstStart,
)
from redoubt.attacks.evasion.conformance import EvasionConformance
from redoubt.attacks.evasion.glass import Glass
from redoubt.models import TorchModel
from redoubt.perturb import (
    Corruptions,
    Feature,
    L0Ball,
    L1Ball,
    L2Ball,
    LinfBall,
    Patch,
    Table,
    Then,
    Turn,
    Union,
    Vote,
)
from redoubt.records import Access, Budget

TURN = Turn(90, 3, fill=0.0, high=1.0)
CORRUPTIONS = Corruptions(("haze", "contrast", "noise", "jpeg"), 5.0, 0.0, 1.0)
PATCH = Patch(0.25, 0.0, 1.0, scale=(0.9, 1.1), rotation=10.0, light=0.05)
LUCKY = Patch(0.25, 0.0, 1.0, vote=Vote(draws=20, share=0.2))  # fools all by luck often enough
MIXED = Then(Turn(20, 1, fill=0.0, high=1.0), LinfBall(0.03, 0.0, 1.0))  # neither part fools everyone


class TestPGD(EvasionConformance):
    attack = PGD()


class TestPGDRestarts(EvasionConformance):
    attack = PGD(steps=5, restarts=3)


class TestPGDL2(EvasionConformance):
    attack = PGD()
    within = L2Ball(1.5, 0.0, 1.0)


class TestPGDTurn(EvasionConformance):
    attack = PGD(restarts=8)
    within = TURN


class TestPGDUnion(EvasionConformance):
    attack = PGD(restarts=4)
    within = Union((LinfBall(0.01, 0.0, 1.0), TURN))
    share = 0.4


class TestAPGD(EvasionConformance):
    attack = APGD()


class TestAPGDDLR(EvasionConformance):
    attack = APGD("dlr", steps=20, restarts=2)


class TestAPGDL1(EvasionConformance):
    attack = APGD(steps=50)
    within = L1Ball(8.0, 0.0, 1.0)


class TestAPGDL2(EvasionConformance):
    attack = APGD()
    within = L2Ball(1.5, 0.0, 1.0)


class TestCascade(EvasionConformance):
    attack = Cascade(passes=120)


class TestCascadeL2(EvasionConformance):
    attack = Cascade(passes=120)
    within = L2Ball(1.5, 0.0, 1.0)


class TestCascadeL1(EvasionConformance):
    attack = Cascade(passes=300)
    within = L1Ball(8.0, 0.0, 1.0)


class TestCascadeTurn(EvasionConformance):
    attack = Cascade(passes=300)
    within = TURN


class TestTargetedAPGD(EvasionConformance):
    attack = TargetedAPGD(steps=20)


class TestAPGDL0(EvasionConformance):
    attack = APGD()
    within = L0Ball(10, 0.0, 1.0)


class TestPGDL0(EvasionConformance):
    attack = PGD()
    within = L0Ball(10, 0.0, 1.0)


class TestFMN(EvasionConformance):
    attack = FMN()
    within = LinfBall(0.08, 0.0, 1.0)


class TestFMNThrough(EvasionConformance):
    attack = FMN(nearest=True)
    within = LinfBall(0.08, 0.0, 1.0)


class TestFMNL2(EvasionConformance):
    attack = FMN()
    within = L2Ball(0.7, 0.0, 1.0)


class TestFMNL1(EvasionConformance):
    attack = FMN()
    within = L1Ball(5.0, 0.0, 1.0)


class TestFMNL0(EvasionConformance):
    attack = FMN()
    within = L0Ball(10, 0.0, 1.0)


class TestSigmaZero(EvasionConformance):
    attack = SigmaZero()
    within = L0Ball(24, 0.0, 1.0)


class TestSigmaZeroThrough(EvasionConformance):
    attack = SigmaZero(nearest=True)
    within = L0Ball(24, 0.0, 1.0)


class TestDeepFool(EvasionConformance):
    attack = DeepFool()
    within = LinfBall(0.08, 0.0, 1.0)


class TestDeepFoolL2(EvasionConformance):
    attack = DeepFool()
    within = L2Ball(0.7, 0.0, 1.0)


class TestDeepFoolL1(EvasionConformance):
    attack = DeepFool()
    within = L1Ball(5.0, 0.0, 1.0)


class TestCarliniWagner(EvasionConformance):
    attack = CarliniWagner()
    within = L2Ball(0.7, 0.0, 1.0)


class TestAdaptive(EvasionConformance):
    attack = Adaptive(passes=300)


class TestAdaptiveL2(EvasionConformance):
    attack = Adaptive(passes=300)
    within = L2Ball(1.5, 0.0, 1.0)


class TestSquare(EvasionConformance):
    attack = Square(queries=300)


class TestSquareL2(EvasionConformance):
    attack = Square(queries=600)
    within = L2Ball(2.5, 0.0, 1.0)


class TestNES(EvasionConformance):
    attack = NES()


class TestNESL2(EvasionConformance):
    attack = NES()
    within = L2Ball(1.5, 0.0, 1.0)


class TestHopSkipJump(EvasionConformance):
    attack = HopSkipJump(sketch=0)


class TestHopSkipJumpFromASketch(EvasionConformance):
    attack = HopSkipJump()


class TestHopSkipJumpL2(EvasionConformance):
    attack = HopSkipJump(sketch=0)
    within = L2Ball(1.0, 0.0, 1.0)


class TestRayS(EvasionConformance):
    attack = RayS()


class TestRaySL2(EvasionConformance):
    attack = RayS()
    within = L2Ball(1.0, 0.0, 1.0)


class TestTransfer(EvasionConformance):
    attack = Transfer(lessons=20)


class TestTransferL2(EvasionConformance):
    attack = Transfer(lessons=20)
    within = L2Ball(1.5, 0.0, 1.0)


class TestTransferTurn(EvasionConformance):
    attack = Transfer(lessons=20)
    within = TURN
    share = 0.5


class TestOarsSquare(EvasionConformance):
    attack = Oars(Square(queries=300))


class TestOarsNESL2(EvasionConformance):
    attack = Oars(NES())
    within = L2Ball(1.5, 0.0, 1.0)


class TestOarsRayS(EvasionConformance):
    attack = Oars(RayS())


class TestOarsHopSkipJumpL2(EvasionConformance):
    attack = Oars(HopSkipJump())
    within = L2Ball(1.0, 0.0, 1.0)


class TestOarsRandomL1(EvasionConformance):
    attack = Oars(RandomSearch())
    within = L1Ball(14.0, 0.0, 1.0)


class TestOarsGrid(EvasionConformance):
    attack = Oars(GridSearch())
    within = TURN


class TestGrid(EvasionConformance):
    attack = GridSearch()
    within = TURN


class TestRandomL0(EvasionConformance):
    attack = RandomSearch()
    within = L0Ball(32, 0.0, 1.0)


class TestWorstOfK(EvasionConformance):
    attack = WorstOfK(30)
    within = TURN


class TestWorstCorruption(EvasionConformance):
    attack = WorstCorruption()
    within = CORRUPTIONS


class TestWorstOfKCorruption(EvasionConformance):
    attack = WorstOfK(60)
    within = CORRUPTIONS


class TestGridCorruption(EvasionConformance):
    attack = GridSearch()
    within = CORRUPTIONS


class TestPatchEOT(EvasionConformance):
    attack = PatchEOT(steps=20, draws=2)
    within = PATCH


class TestRandomPatch(EvasionConformance):
    attack = RandomSearch()
    within = LUCKY
    share = 0.3


class TestUniversal(EvasionConformance):
    attack = Universal(steps=30)
    share = 0.5  # inputs of the class that the move points to stay right: of two classes, half


class TestUniversalL2(EvasionConformance):
    attack = Universal(steps=30)
    within = L2Ball(2.0, 0.0, 1.0)
    share = 0.5


class TestUniversalPatch(EvasionConformance):
    attack = Universal(steps=30)
    within = LUCKY
    share = 0.4


class TestWorstStart(EvasionConformance):
    attack = WorstStart()
    within = MIXED


class TestAPGDMixed(EvasionConformance):
    attack = APGD(restarts=3)
    within = MIXED


class TestRandom(EvasionConformance):
    attack = RandomSearch()
    within = TURN


def table(low: float = 0.0, high: float = 1.0) -> Table:
    """Every pixel of the glass may move by halves of the range."""
    numbers = tuple(
        Feature(f"pixel{at}", (at,), step=0.5, unit=high - low, zero=low, low=0.0, high=1.0) for at in range(64)
    )
    return Table(numbers, budget=8.0)


class OfTables(EvasionConformance):
    within = table()
    glass = Glass(shape=(64,))

    def in_range(self, low: float, high: float) -> Table:
        return table(low, high)


class TestFeatureSearch(OfTables):
    attack = FeatureSearch(children=8, pairs=40, width=8, beam=4)


class TestOarsFeatureSearch(OfTables):
    attack = Oars(FeatureSearch(children=8, pairs=40, width=8, beam=4))


class TestAPGDTable(OfTables):
    attack = APGD(steps=20)


class TestPGDTable(OfTables):
    attack = PGD(steps=10)


class TestRandomTable(OfTables):
    attack = RandomSearch()
    share = 0.0


@dataclass(frozen=True)
class DoesNothing(EvasionAttack):
    name: ClassVar[str] = "nothing"
    needs: ClassVar[Access] = Access.LABEL

    def run(self, model, x, y, within, budget, rng):
        return within.start(x)


@dataclass(frozen=True)
class ReadsTheGlobalSeed(DoesNothing):
    def run(self, model, x, y, within, budget, rng):
        return within.project(x, x + torch.randn_like(x))


@dataclass(frozen=True)
class Spendthrift(DoesNothing):
    def run(self, model, x, y, within, budget, rng):
        for _ in range(50):
            model.query(x)
        return within.start(x)


@dataclass(frozen=True)
class Modest(PGD):
    """Says it needs labels only, and takes gradients."""

    needs: ClassVar[Access] = Access.LABEL


@dataclass(frozen=True)
class Escapes(PGD):
    """Leaves the set."""

    def run(self, model, x, y, within, budget, rng):
        return x + 2 * (super().run(model, x, y, within, budget, rng) - x)


@dataclass(frozen=True)
class AssumesZeroToOne(PGD):
    def run(self, model, x, y, within, budget, rng):
        return within.project(x, super().run(model, x, y, within, budget, rng).clamp(0, 1))


@dataclass(frozen=True)
class AssumesThreeClasses(PGD):
    def run(self, model, x, y, within, budget, rng):
        model.only(torch.arange(len(x))).logits(x).topk(3, dim=1)
        return super().run(model, x, y, within, budget, rng)


@dataclass(frozen=True)
class Rounds(PGD):
    """Proposes in single precision whatever it is given."""

    def run(self, model, x, y, within, budget, rng):
        return super().run(model, x, y, within, budget, rng).float()


@dataclass(frozen=True)
class StopsAtTheFirst(DoesNothing):
    """Moves nobody, once one is fooled: what becomes of an example depends on its neighbours."""

    needs: ClassVar[Access] = Access.GRADIENTS

    def run(self, model, x, y, within, budget, rng):
        point = x
        for _ in range(20):
            slope = model.slope(point, lambda z: torch.nn.functional.cross_entropy(z, y, reduction="none"))
            if slope.fooled(y).any():
                break
            point = within.ascend(x, point, slope.gradient, 0.05)
        return point


@dataclass(frozen=True)
class OneTarget(PGD):
    """Says that it has nine targets, and tries the likeliest."""

    targets: int = 9

    def run(self, model, x, y, within, budget, rng):
        target = model.logits(x).scatter(1, y[:, None], -torch.inf).argmax(dim=1)[:, None]
        point = x
        for _ in range(20):
            slope = model.slope(point, lambda z: (z.gather(1, target) - z.gather(1, y[:, None])).squeeze(1))
            point = within.ascend(x, point, slope.gradient, 0.2)
        return point


@pytest.mark.parametrize(
    ("attack", "test"),
    [
        (DoesNothing(), "test_fools_the_glass_model_inside_the_set"),
        (ReadsTheGlobalSeed(), "test_same_seed_same_points"),
        (Spendthrift(), "test_keeps_every_budget"),
        (Modest(), "test_fools_the_glass_model_inside_the_set"),
        (Escapes(), "test_fools_the_glass_model_inside_the_set"),
        (AssumesZeroToOne(), "test_other_input_ranges"),
        (AssumesThreeClasses(), "test_two_classes_and_a_thousand"),
        (Rounds(), "test_float64"),
        (StopsAtTheFirst(), "test_a_batch_of_one_fares_as_in_a_batch_of_many"),
        (OneTarget(), "test_targets_other_classes_than_the_likeliest"),
    ],
)
def test_conformance_finds_out_an_attack_that_cheats(attack, test):
    case = type("Case", (EvasionConformance,), {"attack": attack})()
    with pytest.raises((AssertionError, Exception)) as caught:
        getattr(case, test)()
    assert caught.type.__name__ in {"AssertionError", "BudgetExceeded", "AccessDenied", "RuntimeError"}


def test_a_model_that_writes_its_buffers_is_found_out(monkeypatch):
    """In training mode batch normalisation does; the model's face must see to it that it is not."""
    monkeypatch.setattr(TorchModel, "scored", TorchModel._forward)
    with pytest.raises((AssertionError, ValueError)):  # batch normalisation in training refuses a batch of one
        TestPGD().test_leaves_a_model_in_training_as_it_was()


@pytest.mark.parametrize("passes", [11, 21, 41])
def test_pgd_crosses_the_set_also_in_the_few_steps_that_a_budget_buys(passes):
    case = type("Case", (EvasionConformance,), {"attack": PGD(restarts=5), "within": LinfBall(0.08, 0.0, 1.0)})()
    _, fooled, handle = case._run(budget=Budget(passes=passes))
    assert fooled.all()
    assert int(handle.meter.passes.max()) <= passes


def test_square_shrinks_its_squares_within_the_queries_that_a_budget_buys():
    few = type("Case", (EvasionConformance,), {"attack": Square(queries=5000)})()
    fitted = type("Case", (EvasionConformance,), {"attack": Square(queries=60)})()
    budget = Budget(queries=60)
    assert torch.equal(few._run(budget=budget)[0], fitted._run(budget=budget)[0])
