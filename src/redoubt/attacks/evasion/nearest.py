"""What attacks share that look for the nearest wrong answer instead of any inside a given radius."""

import torch
from torch import Tensor

from redoubt.models.meter import Metered
from redoubt.perturb.norms import NormBall


class Nearest:
    """The nearest wrong point known for each example, inside one run of one attack.

    Unless the run goes `through` to its end, an example is done once a wrong point of the ball is known.

    Attributes:
        model, x, y: handle, inputs and labels of the S examples that are not done.
        rows: their rows in the whole batch, `[S]`.
        ball: what is searched; any example may look beyond its radius.
    """

    def __init__(self, model: Metered, x: Tensor, y: Tensor, ball: NormBall, *, through: bool) -> None:
        self._whole, self._inputs, self._through = model, x, through
        self.model, self.x, self.y, self.ball = model, x, y, ball
        self.rows = torch.arange(len(x), device=x.device)
        self._points = x.clone()
        self._lengths = torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def points(self) -> Tensor:
        """The nearest wrong points of the S examples `[S, *shape]`; the input itself where none is known."""
        return self._points[self.rows]

    @property
    def lengths(self) -> Tensor:
        """The norms of those moves `[S]`; infinite where none is known."""
        return self._lengths[self.rows]

    def proposals(self) -> Tensor:
        """A point of the ball for every example of the batch."""
        return self.ball.project(self._inputs, self._points)

    def learn(self, point: Tensor, wrong: Tensor) -> Tensor | None:
        """Take in points `[S, *shape]` and whether they were answered wrongly, bool `[S]`.

        Returns:
            Which of the S examples go on, bool `[S]`; None if all do.
        """
        length = self.ball.length(point - self.x)
        better = wrong & (length < self.lengths)
        if not better.any():
            return None
        rows = self.rows[better]
        self._points[rows], self._lengths[rows] = point[better], length[better]
        if self._through:
            return None
        # The judge's own measure, so that nobody is dropped whom the judge would not count.
        done = better & self.ball.contains(self.x, point)
        if not done.any():
            return None
        self.keep(~done)
        return ~done

    def keep(self, some: Tensor) -> None:
        """Go on with some of the S examples, bool `[S]`."""
        self.rows, self.x, self.y = self.rows[some], self.x[some], self.y[some]
        self.model = self._whole.only(self.rows)
