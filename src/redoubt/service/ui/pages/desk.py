"""What every page needs."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.responses import RedirectResponse, Response

from redoubt.records import Guard as GuardPolicy
from redoubt.service.guard import Guard
from redoubt.service.ui.entrance.door import Asked
from redoubt.service.ui.look import HEADERS, Look


@dataclass(frozen=True)
class Desk:
    """What every page needs.

    Attributes:
        guard: what is looked at.
        look: makes the pages.
        clock: seconds since 1970-01-01 UTC.
    """

    guard: Guard
    look: Look
    clock: Callable[[], float]

    @property
    def policy(self) -> GuardPolicy:
        """The guard's section of the policy in force."""
        return self.guard.chain.book.guard

    def class_name(self, label: int) -> str:
        """A label, as the model in force calls it."""
        face = self.guard.chain.book.face
        return face.name_of(label) if 0 <= label < face.classes else str(label)

    def page(self, template: str, asked: Asked, here: str, **shown: object) -> Response:
        """A page for somebody who is signed in; `here` is its place in the navigation."""
        return self.look.page(template, {"viewer": asked.viewer, "here": here, **shown})


def back(where: str) -> Response:
    """To the page that shows what was done."""
    return RedirectResponse(where, 303, HEADERS)
