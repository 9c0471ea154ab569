"""Differentially private training: clipped gradients of single units of random batches, with noise.

    g = (1 / b) (sum_i g_i min(1, c / |g_i|) + z c N(0, I)),    each unit in the batch with probability b / n

A unit is an example, or several: the gradient of a person is the sum of those of the person's rows, before clipping.

Abadi et al. 2016, Deep Learning with Differential Privacy (https://arxiv.org/abs/1607.00133). Batches and noise are
functions of a secret and of the step, so a step that is taken again after a crash gives the same weights again and
spends nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from fourfold.core import Batch, GenerativeModel, Space, Term, Training
from fourfold.data import Split, Units
from fourfold.engine.gradients import GradientRule, InTraining
from fourfold.parallel.processes import Processes
from fourfold.privacy import Protection
from fourfold.privacy.accounting import Spending, multiplier_for
from fourfold.runs.budget import Budget, Epochs, FirstOf, Flops, Steps

__all__ = ["NoisyRule", "PoissonLoader", "check_private", "clipped_sum", "private_training"]

NORM = 1.0
"""The largest norm of the gradients of one unit."""
BATCH = 1000
"""The mean size of a batch, unless the preset has a larger one."""
CHUNK = 256
"""Examples whose gradients are in memory at once."""
TIMED = 3
"""Passes that are timed to plan the steps of a budget with a clock."""


@final
class PoissonLoader:
    """Batches that hold each unit with one probability, independently of the others. So their sizes vary.

    Args:
        split: raw examples.
        batch_size: the mean number of units in a batch.
        protection: its secret draws the batches.
        units: of the examples. ``None``: each is one.
    """

    def __init__(self, split: Split, batch_size: int, protection: Protection, units: Units | None = None) -> None:
        self.split, self.protection, self.units = split, protection, units
        self.count = len(split.x) if units is None else units.count
        self.batch_size = min(batch_size, self.count)
        self.rate = self.batch_size / self.count

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which a unit is drawn once in the mean."""
        return max(round(1 / self.rate), 1)

    def rows(self, step: int) -> Tensor:
        """The examples of a step."""
        mask = self.protection.stream("batch", step).random(self.count) < self.rate
        return torch.from_numpy(np.flatnonzero(mask if self.units is None else mask[self.units.of]))

    def __call__(self, step: int) -> Batch:
        """The raw batch of a step."""
        rows = self.rows(step)
        return Batch(self.split.x[rows], None if self.split.cond is None else self.split.cond[rows])


def clipped_sum(term: Term, batch: Batch, norm: float, units: Tensor | None = None) -> dict[nn.Parameter, Tensor]:
    """``sum_i g_i min(1, norm / |g_i|)`` over the units of an encoded batch, for each parameter of a term.

    ``g_i`` is the gradient, in all parameters together, of the sum of the losses of the examples of unit ``i``.

    Args:
        term: whose loss of an example depends on no other.
        batch: encoded.
        norm: the most that a unit contributes.
        units: the unit of each example, ``(B,)``. ``None``: each is one.
    """
    trained, places = set(term.trainable()), _places(term)
    parameters = {name: p.detach() for p, (name, *_) in places.items() if p in trained}
    aliases = {alias: names[0] for p, names in places.items() if p in trained for alias in names}

    def loss(weights: Mapping[str, Tensor], x: Tensor, cond: Tensor | None) -> Tensor:
        everywhere = {alias: weights[name] for alias, name in aliases.items()}
        example = Batch(x[None], None if cond is None else cond[None])
        losses: Tensor = functional_call(term, everywhere, (example,), tie_weights=False)
        return losses[0]

    draws = "same" if term.shares_draws else "different"
    of_examples = vmap(grad(loss), (None, 0, None if batch.cond is None else 0), randomness=draws)
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for rows, owners in _chunks(torch.arange(len(batch.x)) if units is None else units):
        gradients = of_examples(parameters, batch.x[rows], None if batch.cond is None else batch.cond[rows])
        if units is not None:
            count, owners = int(owners[-1]) + 1, owners.to(batch.x.device)
            gradients = {n: g.new_zeros(count, *g.shape[1:]).index_add(0, owners, g) for n, g in gradients.items()}
        square = torch.stack([g.flatten(1).square().sum(1) for g in gradients.values()]).sum(0)
        factor = (norm / square.sqrt().clamp(min=1e-12)).clamp(max=1.0)
        for name, g in gradients.items():
            total[name] += torch.tensordot(factor, g, 1)
    return {p: total[names[0]] for p, names in places.items() if p in trained}


def _chunks(units: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Examples whose gradients are in memory at once, all of some units, and the place of the unit of each."""
    order = torch.argsort(units, stable=True)
    _, sizes = torch.unique_consecutive(units[order], return_counts=True)
    low, ends = 0, sizes.cumsum(0)
    while low < len(order):
        first = int(torch.searchsorted(ends, low, right=True))
        last = max(int(torch.searchsorted(ends, low + CHUNK, right=True)), first + 1)  # a large unit is a chunk
        high = int(ends[last - 1])
        yield order[low:high], torch.repeat_interleave(torch.arange(last - first), sizes[first:last])
        low = high


def _places(term: Term) -> dict[nn.Parameter, list[str]]:
    """The names of each parameter: one for each module that holds it, however many names the module has."""
    places: dict[nn.Parameter, list[str]] = {}
    for prefix, module in term.named_modules():
        for name, p in module.named_parameters(prefix, recurse=False):
            places.setdefault(p, []).append(name)
    return places


def private_training(preset: Training) -> Training:
    """The settings of a preset under a guarantee: large batches, which noise disturbs less, and no decay of weights."""
    return replace(preset, batch_size=max(preset.batch_size, BATCH), weight_decay=0.0)


def check_private(model: GenerativeModel, name: str) -> None:
    """Refuse a model that cannot be trained under a guarantee of privacy.

    Raises:
        ValueError: with the reason and the way out.
    """
    joint = next((term for term, part in model.terms().items() if not part.separate), None)
    reason = "it trains another model first" if model.stages() else ""
    reason = reason or ("" if joint is None else f"its loss {joint!r} has no gradient of one row")
    if not reason and not any(term.trainable() for term in model.terms().values()):
        reason = "it is counted, not trained"
    if reason:
        raise ValueError(f"private must be left out for {name}, since {reason}: use autoregressive/any-order")


class _Rated(Protocol):
    """Batches with the probability of a unit, such as those of :class:`PoissonLoader`."""

    rate: float
    batch_size: int

    def rows(self, step: int) -> Tensor: ...


@final
@dataclass
class NoisyRule(GradientRule):
    """GradientRule under a guarantee of privacy.

    Attributes:
        protection: of the units.
        rows: how many units the data has: rows, or those of ``units``.
        spending: what the whole training may release. Known once the steps are planned.
        loader_made: the batches.
        units: of the examples, where one may have several.
    """

    uneven: ClassVar[bool] = True
    measures: ClassVar[bool] = False

    protection: Protection
    rows: int
    spending: Spending = field(default_factory=Spending)
    loader_made: _Rated | None = None
    units: Units | None = None

    def loader(  # type: ignore[override]
        self, split: Split, space: Space, training: Training, seed: int, processes: Processes, parts: int
    ) -> PoissonLoader:
        loader = PoissonLoader(split, training.batch_size, self.protection, self.units)
        self.loader_made = loader
        return loader

    def add(self, loop: InTraining, name: str, batch: Batch, parts: int, call: Callable[[], Tensor]) -> Tensor:
        """The sum of clipped gradients. The loss stays untold, since it is that of the rows."""
        if len(batch.x):
            term, units = loop.terms[name], None
            if self.units is not None:
                units = torch.from_numpy(self.units.of)[self._rated().rows(loop.progress.steps)]
            norm = NORM / math.sqrt(len(loop.terms))  # the terms share the norm of all
            for p, total in clipped_sum(term, batch, norm, units).items():
                p.grad = total if p.grad is None else p.grad + total
        return torch.zeros((), device=loop.device)

    def complete(self, loop: InTraining, name: str) -> None:
        """Add the noise, and divide by the mean size of a batch."""
        term, rated = loop.terms[name], self._rated()
        stream = self.protection.stream("noise", loop.progress.steps, name)
        deviation = self.spending.multiplier * NORM
        for p in dict.fromkeys(term.trainable()):
            noise = torch.from_numpy(stream.standard_normal(tuple(p.shape), dtype=np.float32)).to(p.device)
            p.grad = ((0.0 if p.grad is None else p.grad) + deviation * noise) / rated.batch_size

    def _rated(self) -> _Rated:
        assert self.loader_made is not None
        return self.loader_made

    # --- the plan -----------------------------------------------------------------------------------------------------

    def planned(self, loop: InTraining, budget: Budget) -> Budget:
        """The budget with an end after the planned steps. The noise is the least with which these keep the guarantee.

        A clock may end the training earlier, which spends less.
        """
        if not self.spending.steps:
            counts, rate, steps = self.protection.all_counts(self.rows), self._rated().rate, self._steps(loop, budget)
            guarantee, beside = self.protection.of_gradients(self.rows), self.protection.beside
            noise = multiplier_for(guarantee, counts, rate, steps, beside)
            self.spending = Spending(counts, rate, noise, steps, beside)
        return FirstOf((Steps(self.spending.steps), budget))

    def _steps(self, loop: InTraining, budget: Budget) -> int:
        """The steps within a budget.

        Raises:
            ValueError: for a budget of operations, which are counted in another kind of step.
        """
        ends = budget.budgets if isinstance(budget, FirstOf) else (budget,)
        if any(isinstance(end, Flops) for end in ends):
            raise ValueError(f"budget must be of steps, epochs or time with private, got {budget}")
        counts = [
            end.amount * loop.progress.per_epoch if isinstance(end, Epochs) else end.amount
            for end in ends
            if isinstance(end, (Steps, Epochs))
        ]
        if math.isfinite(budget.seconds):
            counts.append((budget.seconds - loop.progress.seconds) / self._seconds(loop))
        return max(int(min(counts)), 1)

    @staticmethod
    def _seconds(loop: InTraining) -> float:
        """The seconds of a step."""
        times = []
        for _ in range(TIMED):
            start = time.monotonic()
            loop.gradient_pass()
            times.append(time.monotonic() - start)
        return min(times[1:])

    # --- state --------------------------------------------------------------------------------------------------------

    def numbers(self) -> Mapping[str, Tensor]:
        spent = self.spending
        numbers = [spent.counts, spent.rate, spent.multiplier, float(spent.steps)]
        return {
            "privacy.secret": torch.tensor([*self.protection.secret], dtype=torch.uint8),
            "privacy.spending": torch.tensor(numbers, dtype=torch.float64),
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        counts, rate, multiplier, steps = state["privacy.spending"].tolist()
        self.spending = Spending(counts, rate, multiplier, round(steps), self.protection.beside)

    def record(self, loop: InTraining) -> dict[str, Any]:
        whole, inner = self.protection.guarantee.for_rows(self.rows), self.protection.of_gradients(self.rows)
        spent = replace(self.spending, steps=min(loop.progress.steps, self.spending.steps))
        public = [*self.protection.facts, *(f"column {name}" for name in self.protection.public)]
        return {
            "privacy": {
                "epsilon": whole.epsilon,
                "delta": whole.delta,
                "spent": min(math.ceil(1e4 * spent.epsilon(inner.delta or 0.0)) / 1e4, whole.epsilon),
                "unit": self.protection.unit,
                "public": public,
                "noise": self.spending.multiplier,
                "noise of counts": self.spending.counts,
                "rate": self.spending.rate,
                "steps": self.spending.steps,
                "norm": NORM,
            }
        }
