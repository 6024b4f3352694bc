"""What no single key can tell: each with message, line and remedy; and that the sound neighbours are accepted."""

import math

import pytest
from policy_texts import SOUND, changed, line_of, parsed, refused

from redoubt.policy import PolicyProblems, playable
from redoubt.policy.strategies import STRATEGIES, refusal
from redoubt.records import (
    Adversary,
    EvasionRequirement,
    ModelSource,
    WithinAnyOf,
    WithinCorruptions,
    WithinNorm,
    WithinPatch,
    WithinTurn,
)

SOURCE = "torch:digits.model:build   # a factory"
CASES = [
    ("adversary: insider", "adversary: insidr", "unknown adversary 'insidr'; did you mean 'insider'?"),
    ("id: turn-and-shift", "id: small-noise", "duplicate id 'small-noise', which requirements[0] has already"),
    (
        "against: small-noise",
        "against: smal-noise",
        "no requirement has the id 'smal-noise'; did you mean 'small-noise'?",
    ),
    ("  train: idx:mnist/train\n", "", "harden needs data to train on, and data has no 'train'"),
    ("radius: 0.3", "radius: 1.01", "radius 1.01 is outside the input range"),
    ("norm: l2, radius: 2", "norm: l2, radius: 28.1", "radius 28.1 is outside the input range"),
    ("norm: l2, radius: 2", "norm: l1, radius: 785", "radius 785 is outside the input range"),
    ("norm: l2, radius: 2", "norm: l0, radius: 785", "radius 785: inputs of [1, 28, 28] have 784 pixels"),
    ("norm: l2, radius: 2", "norm: l0, radius: 2.5", "radius 2.5: l0 counts pixels"),
    ("norm: l2, radius: 2", "norm: l0, radius: .inf", "radius"),
    ("shape: [1, 28, 28]", "shape: [784]", "rotation and translation need images [channels, height, width]"),
    ("translation: 3 px", "translation: 28 px", "translation 28 px moves an image of 28 x 28 pixels out of the frame"),
    ("[random, grid]", "[random, square]", "square needs scores, and this adversary observes labels only"),
    ("[random, grid]", "[grid]", "none of the named strategies (grid) can move in this set"),
    ("[random, grid]", "[random, pgd]", "pgd needs gradients, and this adversary does not know the weights"),
    (SOURCE, "tourch:digits.model:build", "unknown model source 'tourch:digits.model:build'; did you mean 'torch'?"),
    (SOURCE, "model.onnx", "unknown model source 'model.onnx'"),
    (SOURCE, "torch:build", "'torch:build' is not torch:<module>:<factory>"),
    (SOURCE, "torch:os;rm:build", "is not torch:<module>:<factory>"),
    (SOURCE, "onnx:model.onnx", "weights belong to a torch model; a source of onnx: brings its own"),
    (SOURCE, "http://localhost:8080/v2/models/m", "weights belong to a torch model"),
    ("idx:mnist/test", "idz:mnist/test", "unknown data source 'idz:mnist/test'; did you mean 'idx'?"),
    ("idx:mnist/train", "mnist/train", "unknown data source 'mnist/train'"),
    ("idx:mnist/train", "'idx:'", "'idx:' names nothing"),
    ("weights: model.safetensors", "weights: model.h5", "weights 'model.h5' are no .safetensors file"),
]


@pytest.mark.parametrize(("old", "new", "says"), CASES, ids=[case[2][:40] for case in CASES])
def test_each_contradiction_stands_in_its_line_and_has_a_remedy(old, new, says):
    text = changed((old, new))
    error = refused(text)
    assert not isinstance(error, PolicyProblems), str(error)
    assert says in error.what
    assert error.remedy
    assert error.where is not None
    lines = {line_of(text, new) if new else line_of(text, "harden:")}
    if "duplicate" in says:
        lines = {line_of(SOUND, "id: turn-and-shift")}
    if "weights belong" in says:
        lines = {line_of(text, "weights: model")}
    if "none of the named" in says:
        lines = {line_of(text, "- {norm: l2")}
    if "need images" in says:
        lines = {line_of(text, "- {rotation")}
    assert error.where.line in lines


@pytest.mark.parametrize("suffix", ["pt", "pth", "bin", "pkl", "ckpt", "joblib", "PT"])
def test_pickles_as_weights_are_refused_with_the_line_that_converts_them(suffix):
    error = refused(changed(("weights: model.safetensors", f"weights: out/model.{suffix}")))
    assert f"'model.{suffix}' is a pickle by its name" in error.what
    assert "save_file(torch.load('model." in error.remedy
    assert "'model.safetensors')" in error.remedy
    assert error.where is not None
    assert error.where.line == 5


def test_a_pickled_estimator_is_refused():
    text = changed((SOURCE, "sklearn:model.pkl"), ("  weights: model.safetensors\n", ""))
    assert "skops.io.dump(joblib.load('model.pkl'), 'model.skops')" in refused(text).remedy


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("http://user:secret@host/v2/models/m", "would be copied into the evidence"),
        ("ftp://user:secret@host/v2/models/m", "unknown model source 'ftp://…@host/v2/models/m'"),
        ("http://host/models/m", "is not http://<host>/v2/models/<name>"),
        ("https:///v2/models/m", "is not https://<host>/v2/models/<name>"),
        ("http://[::1/v2/models/m", "the address cannot be read"),
        ("'onnx:'", "'onnx:' names no file"),
    ],
)
def test_addresses_and_files_of_a_wrong_form(source, says):
    error = refused(changed((SOURCE, source), ("  weights: model.safetensors\n", "")))
    assert says in error.what
    assert "secret" not in str(error)


def test_pixels_of_0_to_255_are_recognised():
    assert "write radius: 0.03137" in refused(changed(("radius: 0.3", "radius: 8"))).remedy


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("radius: 0.3", "radius: 1"),
        ("norm: l2, radius: 2", "norm: l2, radius: 28"),
        ("norm: l2, radius: 2", "norm: l1, radius: 784"),
        ("norm: l2, radius: 2", "norm: l0, radius: 784"),
        ("translation: 3 px", "translation: 27 px"),
        ("  weights: model.safetensors\n", ""),
        ("[random, grid]", "[random]"),
        ("range: [0, 1]", "range: [-3, 0.3], mean: [0.1], std: [0.3]"),
    ],
)
def test_what_is_just_possible_is_accepted(old, new):
    assert parsed(changed((old, new))).policy.system == "digit-reader"


@pytest.mark.parametrize(
    "source",
    ["onnx:a/b c.onnx", "sklearn:m.skops", "python:my.module:predict", "https://h:8/x/v2/models/m/versions/2"],
)
def test_every_scheme_is_known(source):
    assert parsed(changed((SOURCE, source), ("  weights: model.safetensors\n", ""))).policy.model.source == source


def test_an_endpoint_gives_no_gradients_even_to_who_knows_the_weights():
    text = changed((SOURCE, "http://h/v2/models/m"), ("  weights: model.safetensors\n", ""))
    asking = ("random", "square", "nes", "rays", "hopskipjump", "transfer")
    assert playable(parsed(text).policy.requirements[0], parsed(text).policy) == asking
    named = text.replace("require: robust_accuracy >= 0.85", "require: robust_accuracy >= 0.85\n    strategies: [pgd]")
    assert "pgd needs gradients, which a source of http: does not give" in refused(named).what


def test_every_requirement_can_be_played_by_somebody():
    for observes in ("label", "scores"):
        for within in (WithinNorm(norm="l1", radius=1), WithinTurn(rotation="3 deg")):
            adversary = Adversary(observes=observes)
            model = parsed(SOUND).policy.model
            assert next(s for s in STRATEGIES if refusal(s, adversary, within, model) is None) == "random"


def test_a_strategy_named_twice_is_played_once():
    policy = parsed(changed(("[random, grid]", "[grid, random, grid]"))).policy
    assert playable(policy.requirements[1], policy) == ("grid", "random")


def test_the_table_of_strategies_agrees_with_the_strategies_themselves():
    from redoubt.assess.suite import choose
    from redoubt.attacks.evasion import (
        APGD,
        FMN,
        NES,
        PGD,
        Adaptive,
        CarliniWagner,
        Cascade,
        DeepFool,
        FeatureSearch,
        GridSearch,
        HopSkipJump,
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
    from redoubt.models.base import Face
    from redoubt.perturb.build import build_set

    attacks = {attack.name: attack for attack in (PGD(), GridSearch(), RandomSearch(), Square(), TargetedAPGD())}
    attacks |= {attack.name: attack for attack in (APGD(loss="ce"), APGD(loss="dlr"), NES(), RayS(), HopSkipJump())}
    attacks |= {attack.name: attack for attack in (FMN(), SigmaZero(), DeepFool(), CarliniWagner())}
    attacks |= {attack.name: attack for attack in (Transfer(), Cascade(), FeatureSearch(), Adaptive())}
    attacks |= {
        attack.name: attack for attack in (PatchEOT(), Universal(), WorstOfK(), WorstCorruption(), WorstStart())
    }
    assert sorted(attacks) == sorted(STRATEGIES)
    model: ModelSource = parsed(SOUND).policy.model
    sets = [
        WithinNorm(norm="linf", radius=0.1),
        WithinNorm(norm="l2", radius=1),
        WithinNorm(norm="l1", radius=1),
        WithinNorm(norm="l0", radius=5),
        WithinTurn(rotation="3 deg", translation="1 px"),
        WithinTurn(rotation="3 deg", then={"norm": "linf", "radius": 0.1}),
        WithinCorruptions(corruptions=("blur", "noise"), severity=3),
        WithinCorruptions(corruptions=("blur", "jpeg"), severity=3),
        WithinAnyOf(any_of=({"corruptions": ["jpeg"], "severity": 3}, {"norm": "l1", "radius": 1.0})),
        WithinPatch(patch="10 %"),
        WithinAnyOf(any_of=({"corruptions": ["jpeg"], "severity": 3}, {"patch": "10 %"})),
        WithinAnyOf(any_of=({"rotation": "3 deg"}, {"norm": "l1", "radius": 1.0})),
        WithinAnyOf(any_of=({"norm": "l2", "radius": 2.0}, {"norm": "l1", "radius": 1.0})),
    ]
    adversaries = [Adversary(knows="weights"), Adversary(observes="label"), Adversary(observes="scores")]
    face = Face((1, 28, 28), 0.0, 1.0, 10)
    for within in sets:
        members = build_set(within, face).members
        for adversary in adversaries:
            for name, attack in attacks.items():
                fits = adversary.access >= attack.needs and any(attack.refuses(m) is None for m in members)
                assert (refusal(name, adversary, within, model) is None) == fits, (name, adversary, within)
            required = EvasionRequirement(
                id="r", game="evasion", adversary="a", within=within, require="robust_accuracy >= 0"
            )
            policy = parsed(SOUND).policy.model_copy(update={"adversaries": {"a": adversary}})
            bouts = choose(build_set(within, face), adversary.access, None)
            assert set(playable(required, policy)) == {bout.attack.name for bout in bouts}, (adversary, within)


def test_large_faces_do_not_overflow():
    shape = f"[{2**53}, {2**53}, {2**53}]"
    text = changed(("shape: [1, 28, 28]", f"shape: {shape}"), ("range: [0, 1]", "range: [-1.0e+308, 1.0e+308]"))
    policy = parsed(text).policy
    assert math.prod(policy.model.input.shape) == 2**159
    assert isinstance(policy.requirements[0], EvasionRequirement)
