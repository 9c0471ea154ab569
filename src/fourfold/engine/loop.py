"""The training loop: a generator that yields after each step. It knows no paradigm."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Batch, CachedCodec, GenerativeModel, Staged, Term, Training
from fourfold.data import Dataset, Split
from fourfold.engine.budget import Budget, Progress, parse_budget
from fourfold.engine.distributed import ALONE, Processes
from fourfold.engine.loader import Ahead, Batches, FileLoader, Loader, Stream, free_workers, raw_examples
from fourfold.engine.memory import keep_memory
from fourfold.engine.precision import FLOAT32, Precision, parse_precision
from fourfold.engine.weights import TermOptimizer, Weights

__all__ = ["Diverged", "Loop", "Step", "train"]


class Diverged(ArithmeticError):  # noqa: N818 (what happened)
    """A loss or a gradient is not finite."""


@dataclass(frozen=True)
class Step:
    """The record of one step.

    Attributes:
        index: number of steps done, this one included.
        used: fraction of the budget that is used, this step included.
        losses: mean loss of each term.
        norms: norm of each term's gradient before clipping.
        watched: each term's watched scalars, ``term/name``; empty at steps at which :func:`train` does not read them.
        rate: the factor of the learning rates.
        seconds: duration of the step.
        stage: name of the stage, if the model is trained in stages; empty for the last one, the model itself.
    """

    index: int
    used: float
    losses: Mapping[str, float]
    norms: Mapping[str, float]
    watched: Mapping[str, float]
    rate: float
    seconds: float
    stage: str = ""


@final
class Loop:
    """A model in training: its terms, weights, optimizers and progress.

    Args:
        model: is trained in place; its networks may hold low-precision weights until :meth:`finish`.
        batches: raw batches by step.
        training: rates, averaging, clipping.
        seed: seed of every random draw; those of step ``i`` are seeded by ``(seed, i, rank)``.
        precision: the dtypes of a step.
        processes: this process among others that train the same model.
        per_epoch: steps in one pass over the data.
        encoded: whether batches are encoded already, or, for a :class:`~fourfold.core.CachedCodec`, analysed.
        smooths: whether noise is added to batches, as the settings of training say.
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
    ) -> None:
        self.model, self.batches, self.training = model, batches, training
        self.seed, self.precision, self.processes, self.encoded = seed, precision, processes, encoded
        self.smooths = smooths
        self.progress = Progress(per_epoch=per_epoch)
        self.device = model.device
        self._forked = [self.device] if self.device.type == "cuda" else []
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        model.zero_grad()
        self.training_mode()
        self.terms = model.terms()
        self.weights = Weights(model, self.terms, precision.weights, training.muon_rate is not None)
        processes.broadcast(self.weights.flat)
        self.weights.refresh(self.weights.slots)
        self.optimizers = {name: TermOptimizer(self.weights, term, training) for name, term in self.terms.items()}
        everything = {slot.parameter for slot in self.weights.slots}
        everything |= {p for stage in model.stages() for p in stage.model.parameters() if p.requires_grad}
        self._frozen = {name: list(everything - set(term.trainable())) for name, term in self.terms.items()}
        self._calls = {name: _compiled(term) if precision.compiled else term for name, term in self.terms.items()}

    def copy(self, precision: Precision) -> Loop:
        """A throw-away loop with the same weights, step and seed, alone in its process."""
        with self.weights.shown(self.weights.flat):
            twin = copy.deepcopy(self.model)
        return self._like(twin, precision, ALONE)

    def trial(self, rows: int) -> Loop:
        """A throw-away copy in float32 that takes the first examples of each batch."""
        twin = self.copy(FLOAT32)
        whole = twin.batches

        def first(step: int) -> Batch:
            raw = whole(step)
            return Batch(raw.x[:rows], None if raw.cond is None else raw.cond[:rows])

        twin.batches = first
        return twin

    def spend(self, seconds: float) -> None:
        """Count seconds as training that were not spent in steps."""
        self.progress = replace(self.progress, seconds=self.progress.seconds + seconds)

    def again(self, precision: Precision) -> Loop:
        """A loop of the same model in another precision, with fresh optimizers, to be used instead of this one."""
        self.weights.show(self.weights.flat)
        return self._like(self.model, precision, self.processes)

    def _like(self, model: GenerativeModel, precision: Precision, processes: Processes) -> Loop:
        loop = Loop(
            model,
            self.batches,
            self.training,
            self.seed,
            precision,
            processes,
            encoded=self.encoded,
            smooths=self.smooths,
        )
        loop.progress = self.progress
        return loop

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
        with torch.random.fork_rng(devices=self._forked):
            self._seeded()
            batch = self._batch()
            if noise and batch.x.is_floating_point():
                batch = batch._replace(x=batch.x + noise * torch.randn_like(batch.x))
            for name in self.terms:
                losses[name] = self._backward(name, batch)
                norms[name] = self._update(name, losses[name], rate)
        steps = self.progress.steps + 1
        self.weights.update_average(steps, self.training.ema)
        seconds = time.monotonic() - start
        self.progress = replace(self.progress, steps=steps, seconds=self.progress.seconds + seconds, last=seconds)
        watched = self.watched() if watch else {}
        return Step(steps, 0.0, losses, norms, watched, rate, seconds)

    def gradient_pass(self) -> list[Tensor]:
        """The gradient of every term on the next batch, flat. It updates and keeps nothing, so a second is equal."""
        gradients = []
        with self._unchanged():
            self._seeded()
            batch = self._batch()
            for name in self.terms:
                self._backward(name, batch)
                gradients.append(self._gathered(name))
        return gradients

    def _seeded(self) -> None:
        """Seed the draws of the next step."""
        torch.manual_seed(_mix(self.seed, self.progress.steps, self.processes.rank))

    def _batch(self) -> Batch:
        """The encoded batch of the next step, on the model's device, images in channels-last."""
        raw = self.batches(self.progress.steps)
        batch = Batch(raw.x.to(self.device), None if raw.cond is None else raw.cond.to(self.device))
        codec = self.model.codec
        with torch.no_grad():
            if not self.encoded:
                batch = self.model.encode(*batch)
            elif isinstance(codec, CachedCodec):
                batch = batch._replace(x=codec.draw(batch.x))
        return batch._replace(x=channels_last(batch.x))

    def _backward(self, name: str, batch: Batch) -> float:
        """The gradients of one term, with everything frozen that it does not train."""
        for p in self._frozen[name]:
            p.requires_grad_(False)
        try:
            with self.precision.context(self.device):
                loss = self._calls[name](batch).mean()
            loss.backward()
        finally:
            for p in self._frozen[name]:
                p.requires_grad_(True)
        return float(loss.detach())

    def _update(self, name: str, loss: float, rate: float) -> float:
        """Gather gradients, average them over processes, clip, update; return the norm before clipping."""
        optimizer = self.optimizers[name]
        self.weights.gather(optimizer.slots)
        for run in optimizer.runs:
            self.processes.average(self.weights.gradient[run])
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
        self.weights.show(self.weights.average)
        self.model.eval()

    def resume(self) -> None:
        """Give the model the weights that are in training, and training mode."""
        self.weights.lower()
        self.training_mode()

    def training_mode(self) -> None:
        """Put the model into training mode, except for its codec and the models of earlier stages."""
        self.model.train()
        self.model.codec.eval()
        for stage in self.model.stages():
            stage.model.eval()

    def warm_up(self) -> None:
        """Compile the terms before the budget starts; no weight changes."""
        self.gradient_pass()

    @contextmanager
    def judging(self) -> Iterator[None]:
        """Inside, the model has its averaged weights, evaluation mode and no gradients; afterwards training continues.

        Anything that terms count or keep inside is forgotten, so looking at a model never changes its training.
        """
        with self._unchanged(), self.weights.shown(self.weights.average), torch.no_grad(), self._in_low_precision():
            for part in (self.model, *self.terms.values()):
                part.eval()
            try:
                yield
            finally:
                for term in self.terms.values():
                    term.train()
                self.training_mode()

    def _in_low_precision(self) -> AbstractContextManager[object]:
        """Autocast, if steps compute in less than float32: the averages are float32."""
        low = self.precision != FLOAT32 and (self.precision.autocast or self.precision.weights != torch.float32)
        return torch.autocast(self.device.type, torch.bfloat16) if low else nullcontext()

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Inside, terms may draw and count; afterwards buffers, watched scalars and random streams are as before."""
        buffers = [(b, b.clone()) for b in self.model.buffers()]
        watched = {name: term.watched for name, term in self.terms.items()}
        try:
            with torch.random.fork_rng(devices=self._forked):
                yield
        finally:
            for b, before in buffers:
                b.copy_(before)
            for name, term in self.terms.items():
                term.watched = watched[name]

    # --- state --------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """Every tensor that training needs to continue: weights, average, buffers, optimizers.

        ``fixed`` are the parameters that no term trains, such as those of a codec or of earlier stages.
        """
        found = {"weights.flat": self.weights.flat, "weights.average": self.weights.average}
        found |= {f"fixed.{name}": value for name, value in self.weights.fixed(self.model).items()}
        found |= {f"buffer.{name}": b for name, b in self.model.named_buffers()}
        for name, optimizer in self.optimizers.items():
            found |= {f"optimizer.{name}.{key}": value for key, value in optimizer.state().items()}
        return {key: value.detach().contiguous().clone() for key, value in found.items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor], progress: Progress) -> None:
        """Continue from a :meth:`state`. The model must have had its ``fixed`` part when the loop was made.

        Raises:
            ValueError: if the state belongs to another model.
        """
        if state["weights.flat"].shape != self.weights.flat.shape:
            raise ValueError("the saved state belongs to a model of another size: resume with what it was started with")
        self.weights.flat.copy_(state["weights.flat"])
        self.weights.average.copy_(state["weights.average"])
        for name, b in self.model.named_buffers():
            b.copy_(state[f"buffer.{name}"])
        for name, optimizer in self.optimizers.items():
            prefix = f"optimizer.{name}."
            optimizer.load({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        self.progress = replace(progress, per_epoch=self.progress.per_epoch)
        self.weights.lower()


def channels_last(x: Tensor) -> Tensor:
    """Real images ``(B, C, H, W)`` in channels-last memory; other tensors are returned as they are."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 and x.is_floating_point() else x


def _compiled(term: Term) -> Callable[[Batch], Tensor]:
    return torch.compile(term)


def _mix(*parts: int) -> int:
    """One seed from several numbers."""
    mixed = 0
    for part in parts:
        mixed = (mixed * 0x9E3779B97F4A7C15 + part + 0xD1B54A32D192ED03) % 2**63
    return mixed


def train(
    model: GenerativeModel,
    data: Dataset | Split | Tensor | np.ndarray | Iterable[Any] | Batches,
    *,
    budget: str | float | Budget = "1m",
    training: Training | None = None,
    seed: int = 0,
    precision: str = "float32",
    loop: Loop | None = None,
    watch_every: int = 50,
) -> Iterator[Step]:
    """Train a model in a loop of your own: a generator that yields after each step.

    When the generator ends or is closed, the model has its averaged weights in float32 and is in evaluation mode.
    Nothing is held out here: :func:`fourfold.fit` chooses which weights to keep.

    One setting of the whole process changes: on a CPU with glibc, large blocks of memory are kept for reuse from the
    first training on (``mallopt``), instead of going back to the system after each operation.

    Args:
        model: the model, which is trained in place.
        data: a data set or split; a tensor or array of raw examples; an iterable of batches, with or without labels,
            that can be iterated again, such as a torch ``DataLoader``; or a function from the step to a raw ``Batch``.
            With a function, the codec's statistics must be set before.
        budget: when training ends; the learning rate follows the used fraction of it.
        training: settings of training; by default those of the model's preset.
        seed: seed of the order of the data and of every draw.
        precision: ``float32``, ``bf16`` or ``autocast``.
        loop: a loop to continue with, instead of a new one.
        watch_every: steps between two readings of the terms' watched scalars.

    Yields:
        A :class:`Step` after each step.

    Raises:
        Diverged: at the first loss or gradient that is not finite.
        TypeError: for data of another kind.
    """
    budget = parse_budget(budget)
    loop = loop or begin(model, data, training or model.training_defaults, seed, parse_precision(precision))
    loop.resume()
    try:
        while not _spent(loop, budget):
            at = min(budget.used(loop.progress) + budget.share(loop.progress) / 2, 1.0)
            watch = (loop.progress.steps + 1) % watch_every == 0
            noise = loop.training.noise(at) if loop.smooths else 0.0
            step = loop.step(loop.training.schedule(at), watch, noise)
            yield replace(step, used=min(budget.used(loop.progress), 1.0))
    finally:
        loop.finish()


def _spent(loop: Loop, budget: Budget) -> bool:
    """Whether the budget is spent; every process stops at the same step, by the clock of the first."""
    if loop.processes.world > 1 and math.isfinite(budget.seconds):
        times = torch.tensor([loop.progress.seconds, loop.progress.last], dtype=torch.float64)
        loop.processes.broadcast(times)
        loop.progress = replace(loop.progress, seconds=float(times[0]), last=float(times[1]))
    return budget.spent(loop.progress)


def begin(
    model: GenerativeModel,
    data: Dataset | Split | Tensor | np.ndarray | Iterable[Any] | Batches,
    training: Training,
    seed: int = 0,
    precision: Precision = FLOAT32,
    processes: Processes = ALONE,
    fresh: bool = True,
    patience: float = math.inf,
) -> Loop:
    """Make the loop of a model. If training is ``fresh``, the codec first takes its statistics from the training data.

    The time in which a learned codec encodes the data counts as training. If that would take more seconds than
    ``patience``, each batch is encoded when its step comes. On a CPU the process keeps large blocks of memory from here
    on (see :func:`~fourfold.engine.memory.keep_memory`).
    """
    if model.device.type == "cpu":
        keep_memory()
    if callable(data):
        return Loop(model, data, training, seed, precision, processes)
    if not isinstance(data, (Dataset, Split, Tensor, np.ndarray)):
        stream = Stream(data, model.space)
        if fresh:
            _fit_codec(model, stream.first(), seed)
        return Loop(model, stream, training, seed, precision, processes, stream.steps_per_epoch)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if isinstance(data, (Tensor, np.ndarray)):
        data = Split(raw_examples(data, model.space))
    split = data.train if isinstance(data, Dataset) else data
    start = time.monotonic()
    if fresh:
        _fit_codec(model, split.x, seed)
    streamed = data.streamed if isinstance(data, Dataset) else None
    codes = None if streamed is not None else _codes(model, split.x, patience)
    seconds = time.monotonic() - start if fresh and isinstance(model.codec, Staged) else 0.0
    if streamed is not None:
        files = FileLoader(
            streamed, training.batch_size, seed, processes.rank, processes.world, model.space.conditional
        )
        ahead = Ahead(files, free_workers(model.device, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
        loop = Loop(model, ahead, training, seed, precision, processes, files.steps_per_epoch)
        loop.progress = replace(loop.progress, seconds=seconds)
        return loop
    loader = Loader(
        split if codes is None else Split(codes, split.cond),
        model.space,
        training.batch_size,
        seed,
        processes.rank,
        processes.world,
    )
    encoded, smooths = codes is not None, len(split.x) <= FEW
    loop = Loop(model, loader, training, seed, precision, processes, loader.steps_per_epoch, encoded, smooths)
    loop.progress = replace(loop.progress, seconds=seconds)
    return loop


def _fit_codec(model: GenerativeModel, x: Tensor, seed: int) -> None:
    """Let the codec take its statistics; the seed fixes what it draws."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.codec.fit(x)


FEW = 1000
"""The most examples of a small table, to which noise is added in training."""


MOST_CODES = 2**31
"""The most bytes of codes that are kept in memory instead of being encoded batch by batch."""


@torch.no_grad()
def _codes(model: GenerativeModel, x: Tensor, patience: float) -> Tensor | None:
    """All codes of a learned codec, or what it keeps of each example; ``None`` if that is random, large or slow."""
    codec = model.codec
    if not any(True for _ in codec.parameters()) or model.space.window is not None:
        return None
    model.eval()
    with torch.random.fork_rng(devices=[]):
        encode = codec.analyse if isinstance(codec, CachedCodec) else lambda part: codec.encode(part)[0]
        one, other = (encode(x[:2].to(model.device)) for _ in range(2))
        if not torch.equal(one, other) or one[0].numel() * one.element_size() * len(x) > MOST_CODES:
            return None
        parts, start, chunks = list[Tensor](), time.monotonic(), torch.split(x, 256)
        for chunk in chunks:
            parts.append(encode(chunk.to(model.device)).cpu())
            if (time.monotonic() - start) * len(chunks) / len(parts) > patience:
                return None
        return torch.cat(parts)
