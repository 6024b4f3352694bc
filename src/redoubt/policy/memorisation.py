"""A requirement of the memorisation game: what cannot be meant, and what it says in plain sentences."""

from collections.abc import Iterator

from redoubt.policy.problems import Wrong
from redoubt.policy.sources import scheme_of
from redoubt.records import Access, Adversary, MemorisationRequirement, Policy


def check_memorisation(_: MemorisationRequirement, adversary: Adversary, policy: Policy) -> Iterator[Wrong]:
    """Everything wrong, by its path within the requirement."""
    if scheme_of(policy.model.source) not in ("transformers", "torch"):
        yield (
            ("game",),
            f"memorisation is played against language models; a source of {scheme_of(policy.model.source)}: is none",
            "write transformers:<folder>, or a torch factory whose module has a vocabulary",
        )
    if adversary.access < Access.SCORES:
        yield (
            ("adversary",),
            "this game asks for the scores of tokens, and this adversary observes labels only",
            "give it observes: scores",
        )


def explain_memorisation(requirement: MemorisationRequirement, _: Policy) -> str:
    """The whole paragraph."""
    bound, who = requirement.require, requirement.adversary
    if bound.measure == "exposure":
        return (
            f"Requirement {requirement.id}: of the secrets in {requirement.canaries}, those that stand most often in "
            f"the training text may be exposed to {who} by at most {bound.value:g} bits in the median. A model that "
            "never saw them has 1 bit; one that knows them by heart has as many as the secrets have."
        )
    public = f", or after pieces of {requirement.public}" if requirement.public else ""
    return (
        f"Requirement {requirement.id}: {who} draws {requirement.samples:,} texts of {requirement.length:,} tokens in "
        f"each of several ways (at temperature 1, at a falling one{public}), and claims the {requirement.claims:,} "
        f"most suspicious by each ranking (perplexity, zlib, lower case). At most {bound.value:g} different pieces of "
        f"{requirement.verbatim:,} characters or more may be training text ({requirement.training}), letter by letter."
    )
