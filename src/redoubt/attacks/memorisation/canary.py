"""Canaries: random secrets in a known format, planted into training text so often, to see whether the model keeps them.

Carlini, Liu, Erlingsson, Kos and Song 2019, "The Secret Sharer", section 4.1.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from redoubt.records import PolicyError

MOST_LISTED = 1 << 20  # secrets that are listed one by one


@dataclass(frozen=True)
class Format:
    """Text around a secret of `length` characters, each any one of `alphabet`.

    >>> pin = Format("my number is ", "0123456789", 4, ".")
    >>> pin.size, pin.secret(42), pin.text("0042")
    (10000, '0042', 'my number is 0042.')

    Raises:
        PolicyError: it has fewer than two secrets, or a character twice.
    """

    before: str
    alphabet: str
    length: int
    after: str = ""

    def __post_init__(self) -> None:
        if len(self.alphabet) < 2 or len(set(self.alphabet)) != len(self.alphabet) or self.length < 1:
            raise PolicyError(
                f"secrets of {self.length} characters out of '{self.alphabet}' cannot be told apart",
                remedy="give an alphabet of different characters, two or more, and a length of at least 1",
            )

    @property
    def size(self) -> int:
        """How many secrets there are."""
        return int(len(self.alphabet) ** self.length)

    def secret(self, number: int) -> str:
        """The secret of that number, 0 to `size - 1`."""
        digits = []
        for _ in range(self.length):
            number, digit = divmod(number, len(self.alphabet))
            digits.append(self.alphabet[digit])
        return "".join(reversed(digits))

    def draw(self, many: int, rng: Generator) -> list[str]:
        """So many secrets, each drawn by itself, uniformly."""
        letters = torch.randint(len(self.alphabet), (many, self.length), generator=rng)
        return ["".join(self.alphabet[letter] for letter in row) for row in letters.tolist()]

    def holds(self, secret: str) -> bool:
        """Whether it is a secret of this format."""
        return len(secret) == self.length and set(secret) <= set(self.alphabet)

    def text(self, secret: str) -> str:
        """The secret with the text around it."""
        return f"{self.before}{secret}{self.after}"


@dataclass(frozen=True)
class Canary:
    """A secret, and how often it stands in the training text; 0 for one that was drawn beside them."""

    secret: str
    times: int


def draw_canaries(form: Format, times: dict[int, int], rng: Generator) -> list[Canary]:
    """Different secrets: for each number of insertions, so many.

    Raises:
        PolicyError: the format has too few secrets for that.
    """
    many = sum(times.values())
    if form.size < 2 * many:
        raise PolicyError(f"{many} secrets out of {form.size} would crowd it", remedy="give longer secrets")
    found: dict[str, None] = {}
    while len(found) < many:
        found[form.draw(1, rng)[0]] = None
    secrets = iter(found)
    return [Canary(next(secrets), often) for often, count in times.items() for _ in range(count)]


def plant(records: list[str], form: Format, canaries: list[Canary], rng: Generator) -> tuple[list[str], Tensor]:
    """Text records with each canary written over the middle of as many of them as it says, each record once at most.

    Args:
        records: texts, each at least as long as a canary.
        form: the canaries' format.
        canaries: what is planted.
        rng: decides where.

    Returns:
        The records, and for each the index of its canary, int64 `[N]`; -1 where there is none.

    Raises:
        PolicyError: there are fewer records than insertions, or one is too short.
    """
    wanted = [at for at, canary in enumerate(canaries) for _ in range(canary.times)]
    size = len(form.before) + form.length + len(form.after)
    if len(wanted) > len(records) or min(map(len, records), default=0) < size:
        raise PolicyError(
            f"{len(wanted)} insertions of {size} characters do not fit into {len(records)} records",
            remedy="give more text, or longer records",
        )
    rows = torch.randperm(len(records), generator=rng)[: len(wanted)].tolist()
    planted, owner = list(records), torch.full((len(records),), -1, dtype=torch.int64)
    for row, at in zip(rows, wanted, strict=True):
        begin = (len(planted[row]) - size) // 2
        text = form.text(canaries[at].secret)
        planted[row] = planted[row][:begin] + text + planted[row][begin + size :]
        owner[row] = at
    return planted, owner
