"""A policy in plain sentences: what is promised, against whom, and what the data can tell."""

from redoubt.policy.explain_guard import explain_guard
from redoubt.policy.explain_update import explain_update
from redoubt.policy.games import POLICIES
from redoubt.policy.sources import gives_gradients, scheme_of
from redoubt.policy.words import listed, percent
from redoubt.records import Adversary, DataSource, HardenRecipe, ModelSource, Policy

_KINDS = {"torch": "a torch model", "onnx": "an ONNX model", "sklearn": "a scikit-learn model", "python": "a callable"}


def explain(policy: Policy) -> list[str]:
    """Paragraphs of plain sentences: system, data, adversaries, requirements, guard, and how to read verdicts."""
    named = {requirement.adversary for requirement in policy.requirements}
    idle = [name for name in policy.adversaries if name not in named]
    paragraphs = [_system(policy), _data(policy.data.test)]
    paragraphs += [_adversary(name, who, policy.model) for name, who in policy.adversaries.items() if name in named]
    if idle:
        paragraphs.append(f"No requirement names {listed(idle, 'or')}, so nobody plays that part.")
    paragraphs += [POLICIES[type(one)].explain(one, policy) for one in policy.requirements]
    if policy.harden is not None:
        paragraphs.append(_harden(policy))
    if policy.guard is not None:
        paragraphs += explain_guard(policy, policy.guard)
    if policy.update is not None:
        paragraphs += explain_update(policy, policy.update)
    return [*paragraphs, _caveat(policy)]


def _caveat(policy: Policy) -> str:
    """How to read the verdicts, and what in each game turns `withstood` into `undecided`."""
    games = dict.fromkeys(type(requirement) for requirement in policy.requirements)
    signs = [POLICIES[game].sign for game in games if POLICIES[game].sign]
    undecided = f" It becomes `undecided` where {listed(signs, 'or where')}." if signs else ""
    return (
        "`withstood` means that the named strategies failed within the named budget. It does not mean secure: "
        f"another strategy, or a larger budget, might succeed.{undecided}"
    )


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
        parts.append(f"weights perturbed by {percent(recipe.weight_perturbation)} of their norm")
    if recipe.average is not None:
        parts.append("weights averaged")
    if recipe.keep == "best":
        parts.append("the best epoch kept")
    return f"; {', '.join(parts)}" if parts else ""
