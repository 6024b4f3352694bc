"""What an attack cost."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]


class Work(BaseModel):
    """The adversary's work, summed over examples.

    A *pass* is one forward or one backward pass of one example; a query is a forward pass that went through the
    model's public face (labels or scores), as an outsider's would.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    forwards: Count = 0
    backwards: Count = 0
    queries: Count = 0
    refusals: Count = 0

    @property
    def passes(self) -> int:
        """Forward passes, backward passes and queries together: what a `passes` budget buys."""
        return self.forwards + self.backwards + self.queries

    def __add__(self, other: "Work") -> "Work":
        return Work(
            forwards=self.forwards + other.forwards,
            backwards=self.backwards + other.backwards,
            queries=self.queries + other.queries,
            refusals=self.refusals + other.refusals,
        )
