"""What executors run and what plans of any game are made of."""

from collections.abc import Generator
from typing import Any, Protocol, TypeAlias

from redoubt.assess.system import System
from redoubt.records import Requirement


class Job(Protocol):
    """A piece of work whose result depends on what it says and on the system alone; equal jobs have equal results."""

    @property
    def name(self) -> str:
        """What is done, for progress."""

    @property
    def clocked(self) -> str:
        """Under which word its seconds are added up."""

    @property
    def standing(self) -> int:
        """How many records or examples it is about."""

    def key(self, run: str) -> str:
        """Name of its result: 64 hex digits over all that decides it; `run` is the digest of model, data and code."""

    def perform(self, system: System) -> bytes:
        """Do it."""


ChainOf: TypeAlias = tuple[Generator[Any, Any, None], int]
"""A generator of jobs that is sent what `take` made of each result, and the most jobs it may yield."""


class Played(Protocol):
    """The plan of one requirement, as far as executing it is concerned."""

    @property
    def requirement(self) -> Requirement:
        """Whose plan it is."""

    @property
    def chains(self) -> list[ChainOf]:
        """What is to be done."""

    def take(self, job: Any, content: bytes) -> object:
        """Keep a result, and make of it what the chain is sent."""
