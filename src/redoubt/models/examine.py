"""A look at a model's answers before anything is attacked, for faults that would make every later figure wrong."""

import torch
from torch import Tensor

from redoubt.models.base import Answer, Model
from redoubt.models.locate import Locate, placed
from redoubt.records import Access, ModelError

_SUM = 1e-3  # how far the probabilities of one row may sum from 1
_SAME = 1e-3  # how far two answers to one question may differ, as a share of the row's largest score


def examine(model: Model, x: Tensor, outputs: str, locate: Locate) -> None:
    """Ask the model about a first batch, and refuse it if it does not behave as the declared classifier.

    Costs one query of the batch, and one more of at most 64 random inputs if all answers are equal.

    Args:
        model: as loaded.
        x: a batch `[B, *face.shape]` of real inputs; 32 or more tell most.
        outputs: `logits` or `probabilities`, as the policy declares them.
        locate: places of the policy's `model` section.

    Raises:
        ModelError: wrong number of rows or classes; scores NaN or infinite; softmax or sigmoid where logits were
            meant; probabilities that do not sum to 1; the same answer to every input; inputs changed in place.
    """
    before = x.clone()
    with placed(locate, "classes"):
        answer = model.query(x)
    if answer.scores is None:
        return
    scores = answer.scores[~answer.refused]  # refused rows have none
    with placed(locate, "source"):
        if not torch.equal(x, before):
            raise ModelError("the model changes its inputs in place", remedy="let it work on a copy: x = x.clone()")
        _refuse_not_finite(scores)
        if model.access > Access.LABEL:
            _refuse_constant(model, x, scores)
    if model.access > Access.LABEL:
        with placed(locate, "outputs"):
            _refuse_other_outputs(scores, outputs)


def unstable_share(model: Model, x: Tensor) -> float:
    """Share of rows whose label, or any score by more than 0.1 % of the row's largest, differs if asked twice; or
    that were refused once.

    0.0 for an empty batch.  Costs two queries of the batch.
    """
    return float((~same(model.query(x), model.query(x))).float().mean()) if len(x) else 0.0


def same(first: Answer, second: Answer) -> Tensor:
    """Whether two answers to one batch agree, bool `[B]`: see `unstable_share`."""
    differs = first.labels != second.labels
    if first.scores is not None and second.scores is not None and len(differs):
        size = torch.maximum(first.scores.abs(), second.scores.abs()).amax(dim=1, keepdim=True)
        close = ((first.scores - second.scores).abs() <= _SAME * size) | (first.scores == second.scores)
        differs = differs | (~close.all(dim=1) & ~(first.refused & second.refused))
    return ~differs


def _refuse_not_finite(scores: Tensor) -> None:
    bad = (~scores.isfinite()).any(dim=1).nonzero()
    if len(bad):
        row = int(bad[0, 0])
        what = "NaN" if bool(scores[row].isnan().any()) else "infinite"
        raise ModelError(
            f"the model's scores are {what} in row {row} of the first batch ({len(bad)} of {len(scores)} rows)",
            remedy="look for NaN in the weights, a logarithm of 0 or a division by 0 in the model, or a wrong range",
        )


def _refuse_constant(model: Model, x: Tensor, scores: Tensor) -> None:
    """Equal answers to a batch may mean one leaf of a tree, so random inputs are asked too."""
    if not bool((x != x[:1]).any()) or not bool((scores == scores[:1]).all()):
        return
    rng = torch.Generator().manual_seed(0)
    unit = torch.rand((64, *model.face.shape), generator=rng).to(x.device)
    random = (model.face.low + unit * (model.face.high - model.face.low)).clamp(model.face.low, model.face.high)
    again = model.query(random).scores
    if again is not None and bool((again == scores[0]).all()):
        raise ModelError(
            f"the model gives the same scores to all {len(x)} inputs of the first batch and to 64 random ones: "
            "it does not depend on its input",
            remedy="look at the weights, and at `range`, `mean` and `std`: is the input lost before the first layer?",
        )


def _refuse_other_outputs(scores: Tensor, outputs: str) -> None:
    if not len(scores):
        return
    if outputs == "probabilities":
        total = scores.double().exp().sum(dim=1)
        bad = ((total - 1).abs() > _SUM).nonzero()
        if len(bad):
            row = int(bad[0, 0])
            raise ModelError(
                f"the model's outputs are declared as probabilities, but those of row {row} sum to {total[row]:.4g}",
                remedy="write 'outputs: logits' if the model does not end in a softmax",
            )
        return
    softmax = bool((scores >= 0).all()) and bool(((scores.sum(dim=1) - 1).abs() <= _SUM).all())
    if softmax:
        raise ModelError(
            f"the model returns probabilities where logits were meant: all {len(scores)} rows of the first batch are "
            "non-negative and sum to 1, so its gradients would vanish wherever it is sure",
            remedy="write 'outputs: probabilities', or better, let the model return the values before its softmax",
        )
    one = scores[:, -1] * 2
    sigmoid = scores.shape[1] == 2 and len(scores) >= 8 and bool((scores[:, 0] == -scores[:, 1]).all())
    if sigmoid and bool(((one >= 0) & (one <= 1)).all()):
        raise ModelError(
            "the model returns one number between 0 and 1 for each input where a logit was meant, as after a sigmoid",
            remedy="write 'outputs: probabilities', or better, let the model return the value before its sigmoid",
        )
