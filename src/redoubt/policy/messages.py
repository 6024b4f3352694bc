"""What pydantic says of a policy, in the words of the policy and with its lines."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from redoubt.policy.document import Document, Key
from redoubt.policy.problems import MOST_REPORTED, did_you_mean, nearest, shown
from redoubt.policy.shape import Spot, follow
from redoubt.records import GAMES, Policy, PolicyError, Requirement
from redoubt.records.base import Record

GAMES_TO_COME = tuple(game for game in ("backdoor", "extraction", "memorisation", "poisoning") if game not in GAMES)
_KEYS_TO_COME = {
    ("Adversary", "controls"): "plays no game yet in which an adversary controls training data",
}
_PART = re.compile(r"[a-z_]+|[0-9]{1,6}")
_SAID_WITH_REMEDY = re.compile(r"(.*?)(?:[;:] )(write .*)", re.DOTALL)

Context: TypeAlias = Mapping[str, object]


def problems_of(error: ValidationError, document: Document, root: type[Record] = Policy) -> list[PolicyError]:
    """One error per thing wrong with a document that should hold a `root`, each at its place."""
    details = [(detail, follow(detail["loc"], detail["type"], root)) for detail in error.errors(include_url=False)]
    details = [(detail, spot) for detail, spot in details if not _is_echo(detail)]
    unplayed = {spot.path[:2] for detail, spot in details if _is_game_to_come(detail, spot)}
    misspelt = _meant_by_unknown_keys(details)
    problems = []
    for detail, spot in details:
        if spot.path[:2] in unplayed and not _is_game_to_come(detail, spot):
            continue
        if detail["type"] == "missing" and spot.path in misspelt:
            continue
        problems.append(_problem(detail, spot, document))
        if len(problems) > 4 * MOST_REPORTED:
            break
    return problems


def _is_echo(detail: ErrorDetails) -> bool:
    """Pydantic calls a list too short when its elements are wrong, which it says beside this."""
    given = detail["input"]
    least = detail.get("ctx", {}).get("min_length")
    return (
        detail["type"] == "too_short" and isinstance(given, list | dict) and least is not None and len(given) >= least
    )


def _is_game_to_come(detail: ErrorDetails, spot: Spot) -> bool:
    return _says_the_game(spot) and detail["input"] in GAMES_TO_COME


def _says_the_game(spot: Spot) -> bool:
    return spot.owner is not None and issubclass(spot.owner, Requirement) and spot.path[-1] == "game"


def _meant_by_unknown_keys(details: Sequence[tuple[ErrorDetails, Spot]]) -> set[tuple[Key, ...]]:
    """Paths of the keys that misspelt ones stand for: they are not reported as missing as well."""
    found: set[tuple[Key, ...]] = set()
    for detail, spot in details[: 4 * MOST_REPORTED]:
        if detail["type"] == "extra_forbidden" and spot.owner is not None:
            meant = nearest(str(spot.path[-1]), spot.owner.model_fields)
            if meant is not None:
                found.add((*spot.path[:-1], meant))
    return found


def _problem(detail: ErrorDetails, spot: Spot, document: Document) -> PolicyError:
    kind = detail["type"]
    if kind == "missing":
        what, remedy = _missing(spot)
        return PolicyError(what, document.place(*spot.path[:-1]), remedy=remedy)
    where = document.place(*spot.path)
    if kind == "extra_forbidden":
        what, remedy = _unknown_key(spot)
    elif spot.is_key:
        what = f"{shown(spot.path[-1])} is no name"
        remedy = "a name has 1 to 64 letters, digits, '.', '_' or '-', and begins with a letter or digit"
    elif kind == "value_error":
        said = str(detail["msg"]).removeprefix("Value error, ")
        meant = (*spot.path, *_named(said))
        if meant != spot.path and meant in document.marks:  # a record speaks of what is inside it
            match = _SAID_WITH_REMEDY.fullmatch(said)
            what, remedy = (match[1], match[2]) if match else (said, f"correct {name_of(meant)}")
            return PolicyError(what, document.place(*meant), remedy=remedy)
        what, remedy = _ours(said, spot)
    else:
        what, remedy = _unfit(detail, spot)
    return PolicyError(what, where, remedy=remedy)


def _named(said: str) -> tuple[Key, ...]:
    """The path that a record's message begins with: `admit[1].name: …`, or `labels …`."""
    word = said.partition(" ")[0]
    return tuple(int(part) if part.isdecimal() else part for part in _PART.findall(word))


def name_of(path: Sequence[Key]) -> str:
    """How messages call what stands at a path: its last key, with the indices after it.

    >>> name_of(("requirements", 0)), name_of(("model", "input", "shape")), name_of(())
    ('requirements[0]', 'shape', 'the policy')
    """
    last = max((n for n, key in enumerate(path) if isinstance(key, str)), default=None)
    if last is None:
        return "the policy"
    return str(path[last]) + "".join(f"[{index}]" for index in path[last + 1 :])


def _about(spot: Spot) -> str:
    """What the reference says of the key, as a remedy."""
    if spot.field is None or not spot.field.description:
        return ""
    return f"{spot.path[-1]}: {spot.field.description}"


def _missing(spot: Spot) -> tuple[str, str]:
    last, parent = spot.path[-1], name_of(spot.path[:-1])
    if isinstance(last, int):
        return f"{parent} has too few entries: entry {last + 1} is missing", "add the missing entry"
    return f"missing key '{last}' in {parent}", f"add {_about(spot) or last}"


def _unknown_key(spot: Spot) -> tuple[str, str]:
    key, owner, parent = str(spot.path[-1]), spot.owner, name_of(spot.path[:-1])
    known = list(owner.model_fields) if owner else []
    to_come = _KEYS_TO_COME.get((owner.__name__ if owner else "", key))
    if to_come is not None:
        return f"'{key}' in {parent}: this version of Redoubt {to_come}", f"remove '{key}'"
    what = f"unknown key {shown(key)} in {parent}{did_you_mean(key, known)}"
    belongs = next((kind for kind in spot.others if key in kind.model_fields), None)
    if owner is not None and issubclass(owner, Requirement):
        games = [game for game, kind in GAMES.items() if kind in spot.others and key in kind.model_fields]
        if games:
            return f"'{key}' in {parent} belongs to game: {' or '.join(games)}", f"remove '{key}'"
        belongs = None
    if belongs is not None and len(belongs.model_fields) > 1:
        keys = " and ".join(belongs.model_fields)
        return what, f"{keys} make a set of their own; join several sets with any_of: [{{…}}, {{…}}]"
    meant = nearest(key, known)
    return what, f"write '{meant}'" if meant else f"remove {shown(key)}"


def _ours(said: str, spot: Spot) -> tuple[str, str]:
    """A message of our own records, which may end in a remedy."""
    match = _SAID_WITH_REMEDY.fullmatch(said)
    what, remedy = (match[1], match[2]) if match else (said, _about(spot) or f"correct {name_of(spot.path)}")
    last = spot.path[-1] if spot.path else ""
    return (f"{last}: {what}" if spot.field is not None and not what.startswith(f"{last} ") else what), remedy


def _unfit(detail: ErrorDetails, spot: Spot) -> tuple[str, str]:
    context: Context = detail.get("ctx", {})
    kind, given, name = detail["type"], detail["input"], name_of(spot.path)
    if kind in ("literal_error", "enum"):
        return _not_a_choice(context, spot, given)
    if kind == "string_pattern_mismatch":
        return (
            f"{name}: {shown(given)} is no name",
            "a name has 1 to 64 letters, digits, '.', '_' or '-', and begins with a letter or digit",
        )
    if kind in ("too_short", "too_long"):
        expected = _length(context, kind)
        return f"{name}: expected {expected}, got {_size(given)}", _about(spot) or f"give {expected}"
    describe = _EXPECTED.get(kind)
    if describe is None:
        return f"{name}: {detail['msg']}", _about(spot) or f"correct {name}"
    expected = describe(context)
    return f"{name}: expected {expected}, got {shown(given)}", _about(spot) or f"write {expected}"


_RECORDS: dict[str, type[Record]] = {
    kind.__name__: kind for parent in Record.__subclasses__() for kind in (parent, *parent.__subclasses__())
}
_ANOTHER_WAY = {
    "Bound": "a bound in words, for example 'robust_accuracy >= 0.85'",
    "DataSource": "a source in words, or a mapping with the keys source, take, seed",
    "WithinNorm": "a mapping: {norm: …, radius: …}, {rotation: …, translation: …}, "
    "{features: …, budget: …} or {any_of: […]}",
}


def _mapping(context: Context) -> str:
    record = str(context.get("class_name"))
    known = _RECORDS.get(record)
    return _ANOTHER_WAY.get(record) or f"a mapping with keys of {', '.join(known.model_fields) if known else record}"


_EXPECTED: dict[str, Callable[[Context], str]] = {
    "model_type": _mapping,
    "int_type": lambda _: "a whole number",
    "int_from_float": lambda _: "a whole number",
    "int_parsing": lambda _: "a whole number",
    "float_type": lambda _: "a number",
    "finite_number": lambda _: "a finite number",
    "string_type": lambda _: "text (put it in quotes if it looks like a number)",
    "tuple_type": lambda _: "a list",
    "list_type": lambda _: "a list",
    "dict_type": lambda _: "a mapping of names",
    "greater_than": lambda context: f"a number greater than {context['gt']}",
    "greater_than_equal": lambda context: f"a number of at least {context['ge']}",
    "less_than": lambda context: f"a number less than {context['lt']}",
    "less_than_equal": lambda context: f"a number of at most {context['le']}",
}


def _not_a_choice(context: Context, spot: Spot, given: object) -> tuple[str, str]:
    name, choices = name_of(spot.path), re.findall(r"'([^']+)'", str(context["expected"])) or [str(context["expected"])]
    if _says_the_game(spot):
        choices = list(GAMES)
        if given in GAMES_TO_COME:
            return (
                f"game '{given}': this version of Redoubt does not play it yet; it plays {', '.join(choices)}",
                "remove this requirement",
            )
        what = did_you_mean(str(given), [*choices, *GAMES_TO_COME], "games") if isinstance(given, str) else ""
        return f"unknown game {shown(given)}{what}", f"write {' or '.join(choices)}, the games that this version plays"
    if not isinstance(given, str):
        return f"{name}: expected {' or '.join(choices)}, got {shown(given)}", _about(spot) or f"write {choices[0]}"
    meant = nearest(given, choices)
    what = f"{name}: unknown value {shown(given)}{did_you_mean(given, choices, 'expected')}"
    return what, f"write '{meant}'" if meant else _about(spot) or f"write one of {', '.join(choices)}"


def _length(context: Context, kind: str) -> str:
    word, count = ("least", context["min_length"]) if kind == "too_short" else ("most", context["max_length"])
    return f"at {word} {count} {'entry' if count == 1 else 'entries'}"


def _size(given: object) -> str:
    return "none" if not given else str(len(given)) if isinstance(given, list | dict) else shown(given)
