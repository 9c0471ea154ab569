"""The training loop: a model with its terms, weights, optimizers and progress. It knows no paradigm."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import final

import torch
from torch import Tensor

from fourfold.core import Batch, GenerativeModel, Training
from fourfold.engine.batch_parts import BatchPart, BatchParts
from fourfold.engine.gradients import GradientRule, MeanRule
from fourfold.engine.loader import Batches
from fourfold.engine.step import Diverged, Step
from fourfold.engine.weights import TermOptimizer, Weights, network_parameters
from fourfold.parallel.blocks import blocks, keep, recompute
from fourfold.parallel.models import arrange, copied
from fourfold.parallel.processes import ALONE, Processes
from fourfold.parallel.wrappers import wrap
from fourfold.runs.budget import Progress
from fourfold.runs.precision import FLOAT32, PRECISIONS, Precision
from fourfold.runs.shards import fill

__all__ = ["Loop"]

SLOWER = 3
"""The learning rates of a training are this many times as low as those of the one before."""
MOST = 2**24
"""The most numbers of a model that may be trained again: their first values stay in memory and in checkpoints."""


@final
@dataclass(frozen=True)
class Beginning:
    """Weights, flat, and buffers before the first step."""

    weights: Tensor
    buffers: Mapping[str, Tensor]


@final
class Loop:
    """A model in training: its terms, weights, optimizers and progress.

    The batch of a step is divided into ``parts``. Each process computes the gradients of an equal number of them, one
    after the other, and the step takes the mean over all parts. The draws of a part are seeded by its number, so a step
    is the same for any number of processes.

    Args:
        model: is trained in place. Its networks may hold low-precision weights until :meth:`finish`.
        batches: raw batches by step.
        training: rates, averaging, clipping.
        seed: seed of every random draw. Those of step ``i`` are seeded by ``(seed, i, part)``.
        precision: the dtypes of a step.
        processes: this process among others that train the same model.
        per_epoch: steps in one pass over the data.
        encoded: whether batches are encoded already, or, for a :class:`~fourfold.core.CachedCodec`, analysed.
        smooths: add noise to batches, as the settings of training say.
        parts: parts of a batch. By default one for each process.
        recomputes: keep only the inputs of large blocks for the backward pass (activation checkpointing).
        rule: how a batch is drawn, and the gradient of a term made of it. By default that of the mean loss.

    Raises:
        ValueError: if the parts cannot be divided among the processes.
    """

    def __init__(
        self,
        model: GenerativeModel,
        batches: Batches,
        training: Training,
        seed: int = 0,
        precision: Precision = FLOAT32,
        processes: Processes = ALONE,
        per_epoch: int = 1,
        encoded: bool = False,
        smooths: bool = False,
        parts: int = 0,
        recomputes: bool = False,
        rule: GradientRule | None = None,
    ) -> None:
        self.rule = rule or MeanRule()
        self.model, self.batches, self.training = model, batches, training
        self.seed, self.processes, self.encoded, self.smooths = seed, processes, encoded, smooths
        self.parts, self.recomputes = parts or processes.world, recomputes
        self.progress = Progress(per_epoch=per_epoch)
        self.beginning: Beginning | None = None
        self.device = model.device
        arrange(model, processes)
        model.zero_grad()
        self.training_mode()
        self._blocks = blocks(model) if recomputes else []
        recompute(self._blocks)
        self._batch_parts = BatchParts(model, self.parts, seed, processes, encoded, self.rule.uneven)
        self.terms = model.terms()
        self.precision = precision = _within(precision, model, processes)
        low, compiled = precision.weights != torch.float32, precision.compiled
        self._wrapper = wrap(self.terms, self._only, processes, low, compiled)
        dtype = self._wrapper.storage(precision.weights)
        self.weights = Weights(model, self.terms, dtype, training.muon_rate is not None)
        if training.ema <= 0:
            self.weights.average = self.weights.flat
        self._wrapper.align(self.weights.flat)
        self.weights.refresh(self.weights.slots)
        self.optimizers = {
            name: TermOptimizer(self.weights, term, training, processes) for name, term in self.terms.items()
        }
        everything = {slot.parameter for slot in self.weights.slots}
        everything |= {p for stage in model.stages() for p in stage.model.parameters() if p.requires_grad}
        self._frozen = {name: list(everything - set(term.trainable())) for name, term in self.terms.items()}

    def copy(self, precision: Precision) -> Loop:
        """A throw-away loop with the same weights, step and seed, alone in its process."""
        with self.weights.holding(self.weights.flat):
            model = copied(self.model, self.processes)
        return self._like(model, precision, ALONE)

    def trial(self, rows: int) -> Loop:
        """A throw-away copy in float32 that takes the first examples of each batch."""
        trial = self.copy(FLOAT32)
        batches = trial.batches

        def first(step: int) -> Batch:
            raw = batches(step)
            return Batch(raw.x[:rows], None if raw.cond is None else raw.cond[:rows])

        trial.batches = first
        return trial

    def spend(self, seconds: float) -> None:
        """Count seconds as training that were not spent in steps."""
        self.progress = replace(self.progress, seconds=self.progress.seconds + seconds)

    def again(self, precision: Precision) -> Loop:
        """A loop of the same model in another precision, with fresh optimizers, to be used instead of this one."""
        keep(self._blocks)
        self.weights.show(self.weights.flat)
        return self._like(self.model, precision, self.processes)

    def _like(self, model: GenerativeModel, precision: Precision, processes: Processes) -> Loop:
        keep(blocks(model))
        loop = Loop(
            model,
            self.batches,
            self.training,
            self.seed,
            precision,
            processes,
            encoded=self.encoded,
            smooths=self.smooths,
            parts=self.parts if processes is self.processes else 1,
            recomputes=self.recomputes,
            rule=self.rule,
        )
        loop.progress = self.progress
        return loop

    def rate(self, fraction: float) -> float:
        """The factor of all learning rates at a fraction of the present training."""
        return self.training.schedule(fraction) / SLOWER ** (self.progress.trainings - 1)

    def remember(self) -> None:
        """Keep the present weights and buffers, from which :meth:`restart` begins again, unless they are large."""
        buffers = dict(self.model.named_buffers())
        numbers = len(self.weights.flat) + sum(b.numel() for b in buffers.values())
        if self.processes.largest(numbers) <= MOST:
            self.beginning = Beginning(self.weights.flat.clone(), {name: b.clone() for name, b in buffers.items()})

    @torch.no_grad()
    def restart(self) -> None:
        """Begin again from the weights and buffers that :meth:`remember` kept, with fresh optimizers."""
        assert self.beginning is not None
        self.weights.flat.copy_(self.beginning.weights)
        self.weights.average.copy_(self.weights.flat)
        for name, b in self.model.named_buffers():
            b.copy_(self.beginning.buffers[name])
        for optimizer in self.optimizers.values():
            optimizer.reset()
        self.progress = self.progress.again()
        self._lower()

    def step(self, rate: float, watch: bool = False, noise: float = 0.0) -> Step:
        """Take one step: update every term in order, all on the same batch.

        Args:
            rate: factor of all learning rates.
            watch: whether the watched scalars of the terms are read.
            noise: standard deviation of the noise that is added to the batch.

        Raises:
            Diverged: if a loss or gradient is not finite, before any weight has changed.
        """
        start = time.monotonic()
        losses: dict[str, float] = {}
        norms: dict[str, float] = {}
        with torch.random.fork_rng(devices=self._batch_parts.forked):
            parts = self._next_parts(noise)
            for name in self.terms:
                loss = self._backward(name, parts)
                norms[name] = self._update(name, loss, rate)
                if self.rule.measures:
                    losses[name] = loss
            self._batch_parts.share_buffers(parts)
        steps = self.progress.steps + 1
        self.weights.update_average(steps - self.progress.steps_before, self.training.ema)
        seconds = time.monotonic() - start
        self.progress = replace(self.progress, steps=steps, seconds=self.progress.seconds + seconds, last=seconds)
        watched = self.watched() if watch and self.rule.measures else {}
        return Step(steps, 0.0, losses, norms, watched, rate, seconds)

    def gradient_pass(self) -> list[Tensor]:
        """The gradient of every term on the next batch, flat. It updates and keeps nothing, so a second is equal."""
        gradients = []
        with self._unchanged():
            parts = self._next_parts()
            for name in self.terms:
                self._backward(name, parts)
                gradients.append(self._gathered(name))
        return gradients

    def loss(self, name: str, batch: Batch) -> Tensor:
        """The loss of a term for each example of an encoded batch, ``(B,)``. All processes must ask together."""
        return self._wrapper.loss(name, batch)

    def _next_parts(self, noise: float = 0.0) -> list[BatchPart]:
        """This process's parts of the next batch. Modules that take something from the first batch see all of it."""
        steps = self.progress.steps
        parts = self._batch_parts.divide(self.batches(steps), steps, noise)
        first = not self.progress.steps_of_training
        if len(parts) > 1 and first and any(getattr(m, "from_data", False) for m in self.model.modules()):
            x = torch.cat([part.batch.x for part in parts])
            labels = [part.batch.cond for part in parts if part.batch.cond is not None]
            cond = torch.cat(labels) if labels else None
            with torch.no_grad():
                for name in self.terms:
                    self.loss(name, Batch(x, cond))
            self._batch_parts.copy_buffers(parts)
        return parts

    @contextmanager
    def _only(self, name: str) -> Iterator[None]:
        """Inside, everything is frozen that a term does not train. It may be entered twice."""
        thawed = [p for p in self._frozen[name] if p.requires_grad]
        for p in thawed:
            p.requires_grad_(False)
        try:
            yield
        finally:
            for p in thawed:
                p.requires_grad_(True)

    def _backward(self, name: str, parts: list[BatchPart]) -> float:
        """Add up the gradients of one term over this process's parts. Return the mean loss of all processes."""
        total = torch.zeros((), device=self.device)
        with self._only(name):
            for part in self._batch_parts.turns(parts):
                with self._wrapper.last(name, part is parts[-1]):
                    call = partial(self._wrapper, name, part.batch)
                    total += self.rule.add(self, name, part.batch, len(parts), call)
            self.rule.complete(self, name)
        self.processes.average(total)
        return float(total)

    def _update(self, name: str, loss: float, rate: float) -> float:
        """Gather gradients, clip, update. Return the norm before clipping."""
        optimizer = self.optimizers[name]
        self.weights.gather(optimizer.slots)
        self._wrapper.average_rest((slot.parameter, slot.view(self.weights.gradient)) for slot in optimizer.slots)
        norm = optimizer.clip()
        if not (abs(loss) < float("inf") and norm < float("inf")):
            raise Diverged(
                f"step {self.progress.steps + 1}: the loss of term {name!r} is {loss:g} and "
                f"its gradient's norm {norm:g}; "
                "lower the learning rate, clip harder, or train with --precision float32"
            )
        optimizer.step(rate)
        self.weights.refresh(optimizer.slots)
        return norm

    def watched(self) -> dict[str, float]:
        """The watched scalars of all terms, from the latest step."""
        return {f"{name}/{key}": float(v) for name, term in self.terms.items() for key, v in term.watched.items()}

    def gradients(self) -> list[Tensor]:
        """The latest gradient of each term, flat and clipped."""
        runs = [o.runs for o in self.optimizers.values()]
        return [torch.cat([self.weights.gradient[run] for run in part]) for part in runs if part]

    def _gathered(self, name: str) -> Tensor:
        """A copy of the latest gradient of a term, flat."""
        optimizer = self.optimizers[name]
        self.weights.gather(optimizer.slots)
        return torch.cat([self.weights.gradient[run] for run in optimizer.runs] or [torch.zeros(0)])

    def finish(self) -> None:
        """Give the model its averaged weights in float32 and evaluation mode."""
        keep(self._blocks)
        self.weights.show(self.weights.average)
        self.model.eval()

    def resume(self) -> None:
        """Give the model the weights that are in training, and training mode."""
        keep(self._blocks)
        recompute(self._blocks)
        self._lower()
        self.training_mode()

    def _lower(self) -> None:
        self.weights.lower()
        self._wrapper.changed()

    def training_mode(self) -> None:
        """Put the model into training mode, except for its codec and the models of earlier stages."""
        self.model.train()
        self.model.codec.eval()
        for stage in self.model.stages():
            stage.model.eval()

    def warm_up(self) -> None:
        """Compile the terms before the budget starts. No weight changes."""
        self.gradient_pass()

    @contextmanager
    def judging(self) -> Iterator[None]:
        """Inside, the model has its averaged weights, evaluation mode and no gradients. Afterwards training continues.

        Anything that terms count or keep inside is forgotten, so looking at a model never changes its training.
        """
        with self._unchanged(), self.weights.holding(self.weights.average), torch.no_grad(), self._in_low_precision():
            for part in (self.model, *self.terms.values()):
                part.eval()
            try:
                yield
            finally:
                for term in self.terms.values():
                    term.train()
                self.training_mode()
                self._wrapper.changed()

    def _in_low_precision(self) -> AbstractContextManager[object]:
        """Autocast, if steps compute in less than float32: the averages are float32."""
        low = self.precision != FLOAT32 and (self.precision.autocast or self.precision.weights != torch.float32)
        return torch.autocast(self.device.type, torch.bfloat16) if low else nullcontext()

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Inside, terms may draw and count. Afterwards buffers, watched scalars and random streams are as before."""
        buffers = [(b, b.clone()) for b in self.model.buffers()]
        watched = {name: term.watched for name, term in self.terms.items()}
        try:
            with torch.random.fork_rng(devices=self._batch_parts.forked):
                yield
        finally:
            for b, before in buffers:
                b.copy_(before)
            for name, term in self.terms.items():
                term.watched = watched[name]

    # --- state --------------------------------------------------------------------------------------------------------

    def live(self) -> dict[str, Tensor]:
        """The tensors that training continues from by name, in the memory that it works with.

        They are weights, their average, the optimizers' state of each parameter, buffers, and the parameters that no
        term trains (``fixed``), such as those of a codec or of earlier stages. Shards know their place.
        """
        tensors = {f"weights.{name}": value for name, value in self.weights.by_name(self.weights.flat).items()}
        if self.weights.average is not self.weights.flat:
            tensors |= {f"average.{name}": value for name, value in self.weights.by_name(self.weights.average).items()}
        tensors |= {f"fixed.{name}": value.detach() for name, value in self.weights.fixed(self.model).items()}
        tensors |= {f"buffer.{name}": b for name, b in self.model.named_buffers()}
        for name, optimizer in self.optimizers.items():
            tensors |= {f"optimizer.{name}.{key}": value for key, value in optimizer.live().items()}
        return tensors | self._of_beginning()

    def _of_beginning(self) -> dict[str, Tensor]:
        """The tensors from which training may begin again, by name."""
        if self.beginning is None:
            return {}
        weights, buffers = self.weights.by_name(self.beginning.weights), self.beginning.buffers
        parts = {"weights": weights, "buffer": buffers}
        return {f"beginning.{part}.{name}": value for part, named in parts.items() for name, value in named.items()}

    def numbers(self) -> dict[str, Tensor]:
        """The small rest of the state: counts and dtypes of the optimizers."""
        return {
            f"optimizer.{name}.{key}": value
            for name, optimizer in self.optimizers.items()
            for key, value in optimizer.numbers().items()
        } | dict(self.rule.numbers())

    def state(self) -> dict[str, Tensor]:
        """A copy of every tensor that training needs to continue: :meth:`live` and :meth:`numbers`."""
        return {key: value.detach().contiguous().clone() for key, value in (self.live() | self.numbers()).items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor], progress: Progress) -> None:
        """Continue from a :meth:`state`. The model must have had its ``fixed`` part when the loop was made.

        Raises:
            ValueError: if the state belongs to another model.
        """
        if any(name not in state for name in self._of_beginning()):  # of an older run, or one that made no choice
            self.beginning = None
        fill({key: value for key, value in self.live().items() if not key.startswith("fixed.")}, state)
        for name, optimizer in self.optimizers.items():
            optimizer.load_numbers(_of(state, f"optimizer.{name}."))
        self.rule.load(state)
        self.progress = replace(progress, per_epoch=self.progress.per_epoch)
        self._lower()


def _of(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The part of a state whose names begin with a prefix, without it."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _within(precision: Precision, model: GenerativeModel, processes: Processes) -> Precision:
    """The precision, or autocast where networks and other parameters would have two dtypes and may not."""
    parameters = {p for term in model.terms().values() for p in term.trainable() if p.ndim}
    if processes.mixes_dtypes or precision.weights == torch.float32 or parameters <= network_parameters(model):
        return precision
    return replace(PRECISIONS["autocast"], compiled=precision.compiled)
