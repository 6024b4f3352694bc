"""DP-SGD of any torch model, through opacus: its gradients per record, our sampling and our noise, one ledger."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from redoubt.bounds.privacy.events import EVERYONE, PoissonGaussian
from redoubt.bounds.privacy.extra import needs_privacy
from redoubt.harden.private.plan import Plan
from redoubt.harden.private.randomness import PrivateRandom, random_of
from redoubt.harden.private.sampling import Poisson, Sampler, must_be_poisson, must_match
from redoubt.records import DataError, Fault, ModelError, PolicyError

Clipping = Literal["hooks", "ghost"]
"""`hooks` builds each record's gradient; `ghost` only its norm, where it knows the layer, and goes back twice."""


def train_general(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    plan: Plan,
    *,
    clipping: Clipping = "hooks",
    at_once: int = 256,
    sampler: Sampler | None = None,
    on: str = EVERYONE,
    insecure_seed: int | None = None,
) -> tuple[PoissonGaussian, ...]:
    """Train a classifier by DP-SGD with momentum, in place, from the weights it has.

    Its weights must not come from these records.  Opacus counts the steps with its own accountant, and what it
    counted must be what the plan writes into the ledger.

    Args:
        module: `[B, ...]` to logits `[B, K]`, no layer of which mixes records.
        x: float32 `[N, ...]`.
        y: int64 `[N]`.
        plan: the mechanism, and the course; `average` must be 0.
        clipping: how opacus clips.
        at_once: records in memory at once; changes nothing else.
        sampler: where batches come from; Poisson sampling at the plan's rate if it is left out.
        on: the group of records that `x` holds.
        insecure_seed: repeats a run exactly, for tests and benches: whoever knows it can take the noise off.

    Returns:
        Events for the ledger.

    Raises:
        ModelError: a layer mixes records, as batch normalisation does, or opacus cannot clip it.
        PolicyError: the sampler does not draw as the accountant counts on; or opacus is not installed.
        DataError: `x` and `y` do not belong together.
        Fault: what was done is not what the accountant counted.
    """
    if plan.average:
        raise PolicyError("the weights of general models are not averaged", remedy="set average to 0")
    if not len(y) or len(x) != len(y):
        raise DataError(f"{len(x)} inputs and {len(y)} labels", remedy="give one label for each input")
    sampler = Poisson(plan.rate) if sampler is None else sampler
    must_match(sampler, plan.rate)
    _refuse_mixing(module)
    random = random_of(insecure_seed)
    wrapped, optimizer, accountant = _with_opacus(module, plan, clipping, plan.rate * len(y), random)
    sizes = []
    try:
        wrapped.train()
        for rows in sampler.batches(len(y), plan.steps, random):
            sizes.append(len(rows))
            _step(wrapped, optimizer, x, y, rows, clipping, at_once)
    finally:
        wrapped.to_standard_module()
    must_be_poisson(sizes, len(y), plan.rate)
    event = plan.event(on, f"DP-SGD through opacus, {clipping}")
    counted = [(event.noise_multiplier, event.rate, event.steps)]
    if accountant.history != counted:
        raise Fault(f"opacus counted {accountant.history}, the plan says {counted}", remedy="please report this")
    return (event,)


def _step(wrapped: Any, optimizer: Any, x: Tensor, y: Tensor, rows: Tensor, clipping: Clipping, at_once: int) -> None:
    blocks = torch.split(rows, at_once) if len(rows) else ()
    for at, block in enumerate(blocks):
        optimizer.signal_skip_step(do_skip=at < len(blocks) - 1)
        logits = wrapped(x[block])
        if clipping == "ghost":
            from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping

            each = F.cross_entropy(logits, y[block], reduction="none")
            DPTensorFastGradientClipping(wrapped, optimizer, each, loss_reduction="sum").backward()
        else:
            torch.autograd.backward(F.cross_entropy(logits, y[block], reduction="sum"))
        optimizer.step()
        optimizer.zero_grad()
    if not blocks:  # nobody entered: the step is taken all the same, on noise alone
        for parameter in optimizer.params:
            parameter.summed_grad = torch.zeros_like(parameter)
            parameter.grad_sample = parameter.new_zeros(0, *parameter.shape)
        optimizer.add_noise()
        optimizer.step_hook(optimizer)
        optimizer.original_optimizer.step()
        optimizer.zero_grad()


def _refuse_mixing(module: nn.Module) -> None:
    with needs_privacy():
        from opacus.validators import ModuleValidator
    wrong = ModuleValidator.validate(module, strict=False)
    if wrong:
        raise ModelError(
            f"this model cannot be trained by DP-SGD: {wrong[0]}",
            remedy="replace layers that mix records: batch normalisation by group normalisation, say",
        )


def _with_opacus(
    module: nn.Module, plan: Plan, clipping: Clipping, expected: float, random: PrivateRandom
) -> tuple[Any, Any, Any]:
    """Opacus' module, its optimizer with our noise, and its accountant of the steps."""
    with needs_privacy():
        from opacus.accountants import RDPAccountant
        from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
        from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
    base = DPOptimizerFastGradientClipping if clipping == "ghost" else DPOptimizer

    class WithOurNoise(base):  # type: ignore[misc, valid-type]
        """Opacus' optimizer, whose noise comes from the private stream, not from torch's seeded generator."""

        def add_noise(self) -> None:
            for parameter in self.params:
                drawn = random.gaussians(parameter.numel()).view_as(parameter)
                noise = drawn.to(parameter) * (self.noise_multiplier * self.max_grad_norm)
                parameter.grad = (parameter.summed_grad + noise).view_as(parameter) / expected

    if clipping == "ghost":
        wrapped = GradSampleModuleFastGradientClipping(module, loss_reduction="sum", max_grad_norm=plan.clip)
    else:
        wrapped = GradSampleModule(module, loss_reduction="sum")
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = WithOurNoise(
        torch.optim.SGD(trained, lr=plan.learning_rate, momentum=plan.momentum),
        noise_multiplier=plan.noise_multiplier,
        max_grad_norm=plan.clip,
        expected_batch_size=None,
        loss_reduction="sum",
    )
    accountant = RDPAccountant()
    optimizer.attach_step_hook(accountant.get_optimizer_hook_fn(sample_rate=plan.rate))
    return wrapped, optimizer, accountant
