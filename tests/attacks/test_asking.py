"""What the searches by queries owe beyond conformance: refusals are no labels, and each example pays for itself."""

import dataclasses

import numpy as np
import pytest
import torch

from redoubt.attacks.evasion import NES, HopSkipJump, Oars, RandomSearch, RayS, Starts, Transfer
from redoubt.attacks.evasion.glass import GlassModel as _Glass
from redoubt.attacks.evasion.glass import glass_images as _images
from redoubt.attacks.evasion.rays import _along
from redoubt.attacks.evasion.square import _LinfSquares
from redoubt.games import play_round
from redoubt.models import TorchModel
from redoubt.models.base import Answer, Face
from redoubt.models.meter import Metered
from redoubt.perturb import L2Ball, LinfBall
from redoubt.records import Access, Budget

LINF, L2 = LinfBall(0.25, 0.0, 1.0), L2Ball(1.0, 0.0, 1.0)
ATTACKS = [
    (NES(), LINF),
    (NES(), L2),
    (RayS(), LINF),
    (RayS(), L2),
    (HopSkipJump(), LINF),
    (HopSkipJump(sketch=0), LINF),
    (HopSkipJump(sketch=0), L2),
    (Transfer(queries=300, lessons=10), LINF),
]


def everything(x, wrong):
    return torch.ones_like(wrong)


def nothing(x, wrong):
    return torch.zeros_like(wrong)


IDS = [f"{attack.name}-{within.symbol}-{at}" for at, (attack, within) in enumerate(ATTACKS)]


class Refusing(Metered):
    """A handle that refuses what `refuse(x, wrong)` says, and shows nothing of it."""

    def __init__(self, model, access, budget, y, refuse):
        super().__init__(model, access, budget, len(y))
        self.y, self.refuse, self.asked = y, refuse, []

    def only(self, rows):
        part = super().only(rows)
        part.__class__, part.y, part.refuse, part.asked = Refusing, self.y, self.refuse, self.asked
        return part

    def query(self, x):
        answer = super().query(x)
        refused = self.refuse(x, answer.labels != self.y[self._rows].repeat(len(x) // len(self)))
        self.asked.append((x.clone(), refused))
        scores = None if answer.scores is None else answer.scores.masked_fill(refused[:, None], torch.nan)
        return Answer(answer.labels.masked_fill(refused, -1), scores, answer.refused | refused)


def play(attack, within, refuse, count=12, budget=None):
    x, y = _images(count)
    budget = budget or Budget(queries=2000)
    handle = Refusing(_Glass(), attack.needs, budget, y, refuse)
    point = attack.run(handle, x, y, within, budget, torch.Generator().manual_seed(0))
    return x, y, within.project(x, point), handle


def fooled(y, point):
    return _Glass().query(point).labels != y


@pytest.mark.parametrize(("attack", "within"), ATTACKS, ids=IDS)
def test_refusing_everything_leaves_nothing_to_propose(attack, within):
    _, y, point, handle = play(attack, within, everything, budget=Budget(queries=300))
    assert not fooled(y, point).any()
    assert torch.isfinite(point).all()
    assert (handle.meter.queries > 0).all()


@pytest.mark.parametrize(("attack", "within"), ATTACKS, ids=IDS)
def test_goes_on_where_half_of_the_queries_are_refused(attack, within):
    coin = np.random.default_rng(0)
    _, y, point, handle = play(attack, within, lambda x, wrong: torch.from_numpy(coin.random(len(x)) < 0.5))
    assert fooled(y, point).float().mean() >= 0.7
    refused = torch.cat([refused for _, refused in handle.asked])
    assert 0.3 < refused.float().mean() < 0.7


@pytest.mark.parametrize(("attack", "within"), ATTACKS, ids=IDS)
def test_a_refused_wrong_answer_is_no_success(attack, within):
    """A guard that refuses exactly what would be answered wrongly: the attack goes on until its budget is spent."""
    _, _, point, handle = play(attack, within, lambda x, wrong: wrong, budget=Budget(queries=300))
    starts = 100  # points that HopSkipJump tries for a first wrong answer, where RayS finds none for it
    at_noise = isinstance(attack, HopSkipJump) and not attack.sketch
    assert (handle.meter.queries == (starts if at_noise else 300)).all()
    refused = torch.cat([x[refused] for x, refused in handle.asked])
    assert all(not (refused == one).flatten(1).all(dim=1).any() for one in point) or not len(refused)


@pytest.mark.parametrize(("attack", "within"), ATTACKS, ids=IDS)
def test_asks_nothing_outside_the_input_range(attack, within):
    _, _, _, handle = play(attack, within, nothing)
    asked = torch.cat([x for x, _ in handle.asked])
    assert asked.min() >= 0
    assert asked.max() <= 1


@pytest.mark.parametrize(("attack", "within"), ATTACKS, ids=IDS)
def test_stops_asking_for_an_example_that_has_fallen(attack, within):
    """Each is billed until its own fall, so the cheapest costs less than the dearest."""
    _, y, point, handle = play(attack, within, nothing)
    assert fooled(y, point).all()
    assert int(handle.meter.queries.max()) < 2000
    at_once = attack.name in {"nes", "transfer"}  # whose rounds hold many questions: all examples fall in one here
    assert len(handle.asked[-1][0]) < len(y) or at_once


@pytest.mark.parametrize(("attack", "within"), ATTACKS, ids=IDS)
def test_one_query_buys_one_question(attack, within):
    _, _, _, handle = play(attack, within, nothing, budget=Budget(queries=1))
    assert handle.meter.queries.tolist() == [1] * 12


def paper_rays(network, x, y, radius, queries):
    """RayS as the paper's algorithms 1 and 2 have it, for one example; the queries until it fell, or None."""
    size, spent = x.numel(), 0

    def wrong(signs, distance):
        nonlocal spent
        spent += 1
        return int(network((x + distance * signs).clamp(0, 1)[None]).argmax()) != y

    signs, best, level = torch.ones_like(x), float("inf"), 0
    while spent < queries:
        length = -(-size // 2**level)
        for begin in range(0, size, length):
            attempt = signs.clone()
            attempt.view(-1)[begin : begin + length] *= -1
            if wrong(attempt, min(best, 1e9)):
                low, high = 0.0, min(best, 1.0)
                while high - low > 1e-3:
                    middle = (low + high) / 2
                    low, high = (low, middle) if wrong(attempt, middle) else (middle, high)
                if high < best:
                    signs, best = attempt, high
            if best <= radius:
                return spent
        level += 1
        if length == 1:
            return None
    return None


def curved():
    """A small network with curved borders, images `[24, 1, 8, 8]`, and its own answers to them."""
    torch.manual_seed(1)
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.Tanh(), torch.nn.Linear(32, 32), torch.nn.Tanh()
    ).append(torch.nn.Linear(32, 4))
    x = torch.rand(24, 1, 8, 8)
    with torch.no_grad():
        network[1].weight *= 4
        y = network(x).argmax(dim=1)
    return TorchModel(network, Face((1, 8, 8), 0.0, 1.0, 4)), x, y


def fall(attack, within, queries, access=Access.LABEL):
    """Queries of those that fell in the curved network, sorted."""
    model, x, y = curved()
    played = play_round(model, attack, x, y, within, access, Budget(queries=queries), torch.Generator().manual_seed(0))
    assert played.broke is None
    return played.meter.queries[played.fooled].double().sort().values


def test_rays_takes_no_more_queries_than_the_papers_algorithm():
    """On a small network with curved borders: as many fall, at a lower median."""
    model, x, y = curved()
    paper = [paper_rays(model.module, one, int(label), 0.1, 1500) for one, label in zip(x, y, strict=True)]
    ours = fall(RayS(tolerance=1e-3), LinfBall(0.1, 0.0, 1.0), 1500)
    fallen = [spent for spent in paper if spent is not None]
    assert len(fallen) >= 6
    assert len(ours) >= len(fallen)
    assert float(ours.median()) <= float(np.median(fallen))


def test_rays_in_l2_and_a_sketched_walk_fell_as_many_as_the_papers_hopskipjump():
    """Here, where no pixel is like its neighbour, not sooner at the median: blocks of pixels are worth less."""
    within = L2Ball(0.5, 0.0, 1.0)
    rays, sketched, paper = (fall(one, within, 1000) for one in (RayS(), HopSkipJump(), HopSkipJump(sketch=0)))
    assert len(paper) >= 12
    assert len(rays) >= len(paper)
    assert len(sketched) >= len(paper)


@pytest.mark.parametrize("distance", [0.3, 1.0, 2.5])
def test_a_ray_in_l2_is_bent_at_the_walls_until_the_move_has_its_length(distance):
    rng = torch.Generator().manual_seed(0)
    x = torch.rand((1, 8, 8), generator=rng).round(decimals=1)  # some pixels at the walls
    direction = torch.randint(-1, 2, x.shape, generator=rng).float()
    point = _along(x, direction, L2, distance)
    assert float((point - x).norm()) == pytest.approx(distance, abs=1e-5)
    assert point.min() >= 0
    assert point.max() <= 1
    assert torch.equal((point[0] - x).sign() * direction.abs(), (point[0] - x).sign())
    cut = (x + distance / float(direction.norm()) * direction).clamp(0, 1) - x  # as a straight ray would be
    assert float(cut.norm()) < distance - 0.001
    assert L2.contains(x[None], point).item() == (distance <= 1.0)


def test_a_ray_in_l2_ends_in_the_corner_that_it_points_to():
    x = torch.full((1, 8, 8), 0.25)
    assert torch.equal(_along(x, torch.ones_like(x), L2, 100.0), torch.ones(1, 1, 8, 8))
    assert torch.equal(_along(x, torch.zeros_like(x), L2, 100.0)[0], x)


def test_every_linf_square_changes_something():
    x = torch.full((5, 1, 8, 8), 0.5)
    draw = _LinfSquares(LINF, torch.Generator().manual_seed(0))
    best = draw.first(x)
    for share in (0.8, 0.2, 0.05, 0.01):
        for _ in range(20):
            candidate = draw.change(x, best, share)
            assert (candidate != best).flatten(1).any(dim=1).all()
            assert LINF.contains(x, candidate).all()
            best = candidate


def test_transfer_steals_enough_to_beat_chance():
    """Where random points of the set hardly ever fool, the substitute's gradients do; scores teach it more."""
    within = LinfBall(0.12, 0.0, 1.0)
    chance = len(fall(RandomSearch(samples=100), within, 100))
    by_labels = len(fall(Transfer(lessons=50), within, 100))
    by_scores = len(fall(Transfer(lessons=50), within, 100, Access.SCORES))
    assert chance <= 8
    assert by_labels >= 2 * max(chance, 4)
    assert by_scores >= by_labels - 2


# ── OARS ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Guarded(Refusing):
    """Refuses with a reason: what `refuse` says, for `why`."""

    why = "similar_queries is 30, must be < 25"

    def query(self, x):
        answer = super().query(x)
        reasons = dict.fromkeys(answer.refused.nonzero().flatten().tolist(), self.why)
        return dataclasses.replace(answer, reasons=reasons)

    def only(self, rows):
        part = super().only(rows)
        part.__class__ = type(self)
        return part


class Unsupported(Guarded):
    why = "credibility is 0.001, must be >= 0.01"


def careful(kind, attack, within, refuse, queries=400, count=4):
    x, y = _images(count)
    budget = Budget(queries=queries)
    handle = kind(_Glass(), attack.needs, budget, y, refuse)
    point = attack.run(handle, x, y, within, budget, torch.Generator().manual_seed(0))
    return x, y, point, handle


@pytest.mark.parametrize(("attack", "within"), ATTACKS, ids=IDS)
def test_oars_asks_unlike_queries_inside_the_set_and_the_range(attack, within):
    x, _, _, plain = careful(Guarded, attack, within, nothing)
    _, _, _, noisy = careful(Guarded, Oars(attack, share=0.2), within, nothing)
    asked = torch.cat([asked for asked, _ in noisy.asked])
    assert asked.min() >= 0
    assert asked.max() <= 1
    first, changed = plain.asked[0][0], noisy.asked[0][0]
    moved = ((changed - first[: len(changed)]).abs() > 0.05).float().mean()
    assert 0.05 < moved < 0.5
    meant = within.contains(x, first[: len(x)])
    assert (within.contains(x, changed[: len(x)]) >= meant).all()


def test_oars_draws_a_query_anew_with_more_change_while_it_is_refused_for_likeness():
    """A memory that refuses what changes less than a third of the values of the query before."""
    last = []

    def like(x, wrong):
        found = torch.tensor([bool(last) and float(((one - last[-1]).abs() > 0.05).float().mean()) < 0.3 for one in x])
        last.append(x[0])
        return found

    class Same(LinfBall):
        def sample(self, x, rng):
            return torch.full_like(x, 0.5)

    attack, within = RandomSearch(samples=30), Same(0.25, 0.0, 1.0)
    _, _, _, plain = careful(Guarded, attack, within, like, count=1)
    assert torch.cat([refused for _, refused in plain.asked])[1:].all()
    last.clear()
    _, _, _, noisy = careful(Guarded, Oars(attack), within, like, count=1)
    refused = [bool(refused) for _, refused in noisy.asked]
    assert refused[1]
    again = refused.index(False, 1)  # the second query, in the form that was admitted
    changes = [float((asked != 0.5).float().mean()) for asked, _ in noisy.asked]
    assert 1 < again <= Oars(attack).tries + 1
    assert changes[again] > 4 * changes[1]


def test_oars_takes_a_refusal_for_lack_of_support_as_a_point_that_is_no_success():
    told = []

    class Listens(RandomSearch):
        def run(self, model, x, y, within, budget, rng):
            told.append((model.query(x), y))
            return x

    careful(Unsupported, Oars(Listens()), LINF, everything)
    ((answer, y),) = told
    assert not answer.refused.any()
    assert torch.equal(answer.labels, y)
    told.clear()
    careful(Guarded, Oars(Listens(), tries=3), LINF, everything)
    ((answer, _),) = told
    assert answer.refused.all()
    assert (answer.labels == -1).all()


@pytest.mark.parametrize("kind", [Guarded, Unsupported])
def test_oars_keeps_the_budget_whatever_is_refused(kind):
    for attack, within in ATTACKS:
        _, y, point, handle = careful(kind, Oars(attack), within, everything, queries=37)
        assert int(handle.meter.queries.max()) <= 37
        assert not fooled(y, within.project(_images(4)[0], point)).any()


def test_hopskipjump_begins_at_the_nearest_of_the_inputs_it_is_given():
    x, y = _images(4)
    starts = Starts(x.flip(0).contiguous(), "four images")
    attack = HopSkipJump(starts=starts)
    handle = Refusing(_Glass(), Access.LABEL, Budget(queries=400), y, nothing)
    point = attack.run(handle, x, y, LINF, Budget(queries=400), torch.Generator().manual_seed(0))
    assert fooled(y, LINF.project(x, point)).all()
    first = handle.asked[0][0]
    assert all((starts.x == one).flatten(1).all(dim=1).any() for one in first)
    assert attack.parameters["starts"] == "four images"
    assert repr(starts) == "Starts('four images')"
