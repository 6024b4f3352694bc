"""What an adversary may do to the rows of a table, in words."""

from redoubt.policy.words import listed
from redoubt.records import WithinTable
from redoubt.records.within import Movable

_NAMED = 12  # features told one by one; of more, the rest is counted


def explain_table(within: WithinTable, span: tuple[float, float]) -> str:
    """The rest of a sentence that begins with who may do it.

    Args:
        within: the set.
        span: the model's input range.
    """
    features = list(within.features.items())
    told = [f"{name} ({_rule(feature, span)})" for name, feature in features[:_NAMED]]
    if len(features) > _NAMED:
        told.append(f"{len(features) - _NAMED} features more")
    return (
        f"change the features of a row at a cost of at most {within.budget:g} together: {listed(told, 'and')}; "
        "everything else stays as it is"
    )


def _rule(feature: Movable, span: tuple[float, float]) -> str:
    if feature.kind == "category":
        return f"to any other of {len(feature.columns)} values, at {feature.cost:g}"
    ends = feature.scale or span
    low = ends[0] if feature.low is None else feature.low
    high = ends[1] if feature.high is None else feature.high
    way = f", only {feature.only}" if feature.only else ""
    each = f"{len(feature.columns)} numbers, each " if len(feature.columns) > 1 else ""
    by = f"by steps of {feature.step:g}, at {feature.cost:g} a step" if feature.step else f"at {feature.cost:g} a unit"
    return f"{each}{by}, from {low:g} to {high:g}{way}"
