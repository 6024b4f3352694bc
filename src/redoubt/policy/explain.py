"""A policy in plain sentences: what is promised, against whom, and what the data can tell."""

from redoubt.policy.explain_guard import explain_guard
from redoubt.policy.explain_membership import explain_membership
from redoubt.policy.explain_table import explain_table
from redoubt.policy.samples import Decisive, decisive_counts, fewest_examples
from redoubt.policy.sources import gives_gradients, scheme_of
from redoubt.policy.strategies import playable
from redoubt.policy.words import listed
from redoubt.records import (
    Adversary,
    DataSource,
    EvasionRequirement,
    HardenRecipe,
    MembershipRequirement,
    ModelSource,
    Norm,
    Policy,
    WithinAnyOf,
    WithinCorruptions,
    WithinNorm,
    WithinPatch,
    WithinSimple,
    WithinTable,
)

CAVEAT = (
    "`withstood` means that the named strategies failed within the named budget. It does not mean secure: "
    "another strategy, or a larger budget, might succeed. Signs that the strategies failed for want of a usable "
    "gradient turn it into `undecided`."
)
BRANCHES = 200
"""Sub-problems that a proof may bound for each example, where the policy does not say."""
_KINDS = {"torch": "a torch model", "onnx": "an ONNX model", "sklearn": "a scikit-learn model", "python": "a callable"}


def explain(policy: Policy) -> list[str]:
    """Paragraphs of plain sentences: system, data, adversaries, requirements, guard, and how to read verdicts."""
    named = {requirement.adversary for requirement in policy.requirements}
    idle = [name for name in policy.adversaries if name not in named]
    paragraphs = [_system(policy), _data(policy.data.test)]
    paragraphs += [_adversary(name, who, policy.model) for name, who in policy.adversaries.items() if name in named]
    if idle:
        paragraphs.append(f"No requirement names {listed(idle, 'or')}, so nobody plays that part.")
    paragraphs += [_requirement(requirement, policy) for requirement in policy.requirements]
    if policy.harden is not None:
        paragraphs.append(_harden(policy))
    if policy.guard is not None:
        paragraphs += explain_guard(policy, policy.guard)
    return [*paragraphs, CAVEAT]


def _system(policy: Policy) -> str:
    model, face = policy.model, policy.model.input
    low, high = face.range
    weights = f" with the weights in {model.weights}" if model.weights else ""
    shape = " x ".join(str(side) for side in face.shape)
    return (
        f"System {policy.system}: {_KINDS.get(scheme_of(model.source), 'a served model')}, {model.source}{weights}. "
        f"It takes inputs of {shape} values from {low:g} to {high:g} and tells {model.classes:,} classes apart; "
        f"it returns {model.outputs}.{_vouched(model)} Everything random derives from seed {policy.seed}."
    )


def _data(data: DataSource) -> str:
    if data.take is None:
        return f"It is judged on every example of {data.source}."
    return (
        f"It is judged on {data.take:,} examples of {data.source}, as many of each class as possible, "
        f"drawn with seed {data.seed}."
    )


def _vouched(model: ModelSource) -> str:
    """What the model's file must be before anything of it is read."""
    said = f" Its file must have the digest {model.digest}." if model.digest else ""
    if model.signature:
        over = f"all of {model.signature.of}" if model.signature.of else "its file"
        named = model.signature
        said += f" Nothing of it is read unless {named.bundle} is a signature by {named.key} over {over}."
    return said


def _adversary(name: str, who: Adversary, model: ModelSource) -> str:
    if who.knows == "weights" and gives_gradients(model.source):
        sees = "has the model itself, and can follow its gradients"
        sees += " if it has any; trees have none" if scheme_of(model.source) == "sklearn" else ""
    elif who.knows == "weights":
        sees = (
            f"would have the weights, but a source of {scheme_of(model.source)}: gives no gradients, "
            "so only strategies that ask the model can be played"
        )
    else:
        shown = "its scores for every class" if who.observes == "scores" else "the class it names, and nothing else"
        sees = f"does not have the weights; of each answer of the model it sees {shown}"
    limits = [
        f"{who.budget.passes:,} passes (forward passes, backward passes and queries together)"
        if who.budget.passes
        else "",
        f"{who.budget.queries:,} queries" if who.budget.queries else "",
    ]
    accounts = who.budget.accounts or 0
    many = f" Through the guard it asks with up to {accounts:,} accounts for each input." if accounts > 1 else ""
    limited = listed([limit for limit in limits if limit], "and")
    spends = f"On each input it can spend up to {limited}" if limited else "Only each strategy's own limits bind it"
    return f"Adversary {name} {sees}. {spends}.{many}"


def _requirement(requirement: EvasionRequirement | MembershipRequirement, policy: Policy) -> str:
    if isinstance(requirement, MembershipRequirement):
        return explain_membership(requirement, policy)
    share = _percent(requirement.require.value)
    move = _moves(requirement, policy.model.input.range)
    match requirement.require.measure:
        case "robust_accuracy":
            claim = (
                f"whatever {requirement.adversary} does, the model must answer at least {share} of the test "
                f"examples rightly. {move}."
            )
        case "certified_accuracy":
            claim = (
                f"for at least {share} of the test examples the model must answer rightly, and it must be proved that "
                f"nothing {requirement.adversary} may do changes the answer. {move}. A proof may take "
                f"{requirement.branches or BRANCHES:,} sub-problems for each example; strategies are played first, and "
                "what they bring to a wrong answer needs no proof."
            )
        case "attack_success":
            claim = (
                f"of the test examples that the model answers rightly, {requirement.adversary} must bring at most "
                f"{share} to a wrong answer. {move}."
            )
        case _:
            claim = f"the model must answer at least {share} of the test examples rightly when nobody moves them."
    strategies = f"Strategies: {', '.join(playable(requirement, policy))}."
    told = _evidence(requirement, policy.data.test.take)
    if requirement.require.measure == "certified_accuracy":
        told = told.replace("withstood", "proved").replace("are answered rightly", "are certified", 1)
    return f"Requirement {requirement.id}: {claim} {strategies} {told}"


def _moves(requirement: EvasionRequirement, span: tuple[float, float]) -> str:
    if isinstance(requirement.within, WithinAnyOf):
        ways = "; or ".join(_move(part, span) for part in requirement.within.any_of)
        return f"To each input, {requirement.adversary} may do any one of this: {ways}"
    return f"{requirement.adversary} may {_move(requirement.within, span)}"


def _move(within: WithinSimple | WithinTable, span: tuple[float, float]) -> str:
    """What the adversary may do to an input, as the rest of a sentence."""
    if isinstance(within, WithinNorm):
        size = f"{within.radius:g}"
        if within.norm is Norm.LINF:
            part = _percent(within.radius / (span[1] - span[0]))
            return f"change every value of an input by at most {size} (Linf), which is {part} of the input range"
        if within.norm is Norm.L2:
            return f"change an input by a Euclidean length of at most {size} (L2)"
        if within.norm is Norm.L0:
            return f"change at most {size} pixels of an image, or values of another input, as far as it likes (L0)"
        return f"change the values of an input by at most {size} in sum (L1)"
    if isinstance(within, WithinTable):
        return explain_table(within, span)
    if isinstance(within, WithinCorruptions):
        kinds = listed(within.corruptions, "or")
        most = min(within.at_once, len(within.corruptions))
        combined = f", up to {most} of them at once in the worst combination" if most > 1 else ""
        return f"corrupt an image by {kinds}{combined}, each up to severity {within.severity:g} of 5 as in ImageNet-C"
    if isinstance(within, WithinPatch):
        return _patch(within)
    turn = f"turn an image by up to {within.rotation:g} degrees either way" if within.rotation else ""
    shift = f"shift an image by up to {within.translation:g} pixels along each axis" if within.translation else ""
    both = f"{turn}, then {shift.replace('an image', 'it')}" if turn and shift else turn or shift
    return both if within.then is None else f"{both}, and of what comes of it {_move(within.then, span)}"


def _patch(within: WithinPatch) -> str:
    least, greatest = within.scale
    chance = [
        f"at {least:g} to {greatest:g} times its size" if least < greatest else "",
        f"turned by up to {within.rotation:g} degrees" if within.rotation else "",
        f"brighter or darker by up to {_percent(within.light)} of the input range" if within.light else "",
    ]
    how = listed([word for word in chance if word], "and")
    return (
        f"print a square patch of any pixels, {_percent(within.patch)} of the image in area, which chance then lays "
        f"over any place of it{', ' + how if how else ''}; an input counts as fooled if at least "
        f"{_percent(within.share)} of {within.draws:,} fresh placements are answered wrongly"
    )


def _evidence(requirement: EvasionRequirement, take: int | None) -> str:
    """What the test examples can tell about the bound."""
    bound = requirement.require
    inverse = bound.sense == "<="
    share = 1 - bound.value if inverse else bound.value
    if share <= 0:
        return "Every model keeps this bound, so it requires nothing."
    fewest = fewest_examples(share)
    if fewest is None:
        return "No number of examples can show a share of 100 %: this is violated, or stays undecided."
    counted = "examples answered rightly" if inverse else "examples"
    counts = decisive_counts(take, share) if take is not None else None
    if take is None or counts is None:
        return f"To be withstood it takes at least {fewest:,} {counted}, and all of them must hold."
    if counts.withstood is None:
        return (
            f"{take:,} examples cannot show it, even if all of them hold, and it stays undecided: take at least "
            f"{fewest:,} {counted}."
        )
    return _decided(counts, take, inverse)


def _decided(counts: Decisive, take: int, inverse: bool) -> str:
    if inverse:
        most = take - (counts.withstood or 0)
        least = "" if counts.violated is None else f"; violated, if {take - counts.violated:,} or more fall"
        return (
            f"If the model answers all {take:,} rightly, the requirement is withstood if at most {most:,} of them "
            f"fall{least}; else undecided, by the exact 95 % interval (Clopper and Pearson)."
        )
    violated = "" if counts.violated is None else f", violated if at most {counts.violated:,} are"
    return (
        f"Of {take:,} examples, it is withstood if at least {counts.withstood:,} are answered rightly{violated}, and "
        "undecided otherwise, by the exact 95 % interval (Clopper and Pearson)."
    )


def _harden(policy: Policy) -> str:
    recipe, train = policy.harden, policy.data.train
    if recipe is None or train is None:
        return ""
    warmup = f", the first {recipe.warmup:,} of them with a growing set" if recipe.warmup else ""
    named = "requirement" if len(recipe.against) == 1 else "requirements"
    return (
        f"redoubt harden trains a stronger model against {named} {' and '.join(recipe.against)}: {recipe.epochs:,} "
        f"epochs over {train.source}{warmup}, {_search(recipe)} for each batch of {recipe.batch:,}{_learnt(recipe)}."
    )


def _search(recipe: HardenRecipe) -> str:
    """The inner maximiser, in words."""
    if recipe.attack == "none":
        return "no attack" if recipe.loss == "cross-entropy" else "bounds that cover the whole ball"
    if recipe.attack == "worst-of-k":
        return f"the worst of {recipe.tries:,} random points"
    if recipe.attack == "free":
        return f"{recipe.replays:,} replays that move weights and inputs by the same gradient"
    steps = f"{recipe.steps:,} attack {'step' if recipe.steps == 1 else 'steps'}"
    if recipe.attack == "ensemble":
        return f"{steps} on the model or on one of {len(recipe.static):,} that stay as they are"
    return steps


def _learnt(recipe: HardenRecipe) -> str:
    """What is out of the ordinary in the loss and the weights, in words."""
    parts = []
    if recipe.loss in ("trades", "mart"):
        parts.append(f"the loss of {recipe.loss.upper()}, beta {recipe.beta:g}")
    if recipe.weight_perturbation is not None:
        parts.append(f"weights perturbed by {_percent(recipe.weight_perturbation)} of their norm")
    if recipe.average is not None:
        parts.append("weights averaged")
    if recipe.keep == "best":
        parts.append("the best epoch kept")
    return f"; {', '.join(parts)}" if parts else ""


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
