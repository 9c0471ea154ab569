"""The training loop: a generator that yields after each step. It knows no paradigm."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Batch, CachedCodec, GenerativeModel, Staged, Training
from fourfold.data import Dataset, Split
from fourfold.engine.budget import Budget, Progress, parse_budget
from fourfold.engine.distributed import ALONE, Processes
from fourfold.engine.loader import Ahead, Batches, FileLoader, Loader, Stream, free_workers, raw_examples
from fourfold.engine.memory import keep_memory
from fourfold.engine.precision import FLOAT32, PRECISIONS, Precision, parse_precision
from fourfold.engine.shards import fill
from fourfold.engine.weights import TermOptimizer, Weights, network_parameters
from fourfold.engine.wrappers import Alone, Replicated, Sharded, Wrapper, blocks, keep, recompute

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
@dataclass
class _Part:
    """A part of a step's batch, with the random streams and the buffers in which its last turn ended."""

    batch: Batch
    streams: list[Tensor]
    buffers: list[Tensor]


@final
class Loop:
    """A model in training: its terms, weights, optimizers and progress.

    The batch of a step is divided into ``parts``. Each process computes the gradients of an equal number of them, one
    after the other, and the mean over all parts is what the step takes. The draws of a part are seeded by its number,
    so a step is the same whatever the number of processes.

    Args:
        model: is trained in place; its networks may hold low-precision weights until :meth:`finish`.
        batches: raw batches by step.
        training: rates, averaging, clipping.
        seed: seed of every random draw; those of step ``i`` are seeded by ``(seed, i, part)``.
        precision: the dtypes of a step.
        processes: this process among others that train the same model.
        per_epoch: steps in one pass over the data.
        encoded: whether batches are encoded already, or, for a :class:`~fourfold.core.CachedCodec`, analysed.
        smooths: whether noise is added to batches, as the settings of training say.
        parts: parts of a batch; by default one for each process.
        recomputes: whether large blocks keep only their inputs for the backward pass (activation checkpointing).

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
    ) -> None:
        self.model, self.batches, self.training = model, batches, training
        self.seed, self.processes, self.encoded, self.smooths = seed, processes, encoded, smooths
        self.parts, self.recomputes = parts or processes.world, recomputes
        if self.parts % processes.world:
            raise ValueError(f"{self.parts} parts of a batch cannot be divided among {processes.world} processes")
        self.progress = Progress(per_epoch=per_epoch)
        self.device = model.device
        self._forked = [self.device] if self.device.type == "cuda" else []
        if not processes.sharded:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        model.zero_grad()
        self.training_mode()
        self._blocks = blocks(model) if recomputes else []
        recompute(self._blocks)
        saved = set(model.state_dict(keep_vars=True))
        self._buffers = [b for _, b in model.named_buffers()]
        codec = set(model.codec.buffers())
        self._shared = [b for name, b in model.named_buffers() if name in saved and b not in codec]
        self._unsaved = [i for i, (name, _) in enumerate(model.named_buffers()) if name not in saved]
        self._kept: list[list[Tensor]] = []
        self.terms = model.terms()
        self.precision = precision = _within(precision, model, processes)
        self._wrapper: Wrapper = Alone(self.terms, precision.compiled)
        if processes.sharded:
            self._wrapper = Sharded(self.terms, processes, precision.weights != torch.float32)
        elif processes.world > 1:
            self._wrapper = Replicated(self.terms, self._only, precision.compiled)
        dtype = torch.float32 if processes.sharded else precision.weights
        self.weights = Weights(model, self.terms, dtype, training.muon_rate is not None)
        if training.ema <= 0:
            self.weights.average = self.weights.flat
        if not processes.sharded:
            processes.broadcast(self.weights.flat)
        self.weights.refresh(self.weights.slots)
        made = {name: TermOptimizer(self.weights, term, training, processes) for name, term in self.terms.items()}
        self.optimizers = made
        everything = {slot.parameter for slot in self.weights.slots}
        everything |= {p for stage in model.stages() for p in stage.model.parameters() if p.requires_grad}
        self._frozen = {name: list(everything - set(term.trainable())) for name, term in self.terms.items()}

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
            parts = self._begun(noise)
            for name in self.terms:
                losses[name] = self._backward(name, parts)
                norms[name] = self._update(name, losses[name], rate)
            self._share_buffers(parts)
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
            parts = self._begun()
            for name in self.terms:
                self._backward(name, parts)
                gradients.append(self._gathered(name))
        return gradients

    def loss(self, name: str, batch: Batch) -> Tensor:
        """The loss of a term for each example of an encoded batch, ``(B,)``; all processes must ask together."""
        return self._wrapper(name, batch) if self.processes.sharded else self.terms[name](batch)

    def _begun(self, noise: float = 0.0) -> list[_Part]:
        """This process's parts of the next step's batch, each drawn by its own seed."""
        raw = self.batches(self.progress.steps)
        count = self.parts // self.processes.world
        if len(raw.x) % count:
            raise ValueError(f"a batch of {len(raw.x)} cannot be divided into {count} equal parts: accumulate fewer")
        x, cond = raw.x.chunk(count), [None] * count if raw.cond is None else raw.cond.chunk(count)
        parts = []
        for i in range(count):
            torch.manual_seed(_mix(self.seed, self.progress.steps, self.processes.rank * count + i))
            batch = self._encoded(Batch(x[i], cond[i]))
            if noise and batch.x.is_floating_point():
                batch = batch._replace(x=batch.x + noise * torch.randn_like(batch.x))
            parts.append(_Part(batch, self._streams(), []))
            if count > 1:
                kept = self._kept[i] if len(self._kept) > i else []
                parts[i].buffers = [b.clone() for b in self._buffers]
                for at, value in zip(self._unsaved, kept, strict=False):
                    parts[i].buffers[at] = value
        if count > 1 and not self.progress.steps and any(getattr(m, "from_data", False) for m in self.model.modules()):
            self._see_whole(parts)
        return parts

    @torch.no_grad()
    def _see_whole(self, parts: list[_Part]) -> None:
        """Let modules take what they take from the first batch, from all its parts together."""
        x, cond = torch.cat([part.batch.x for part in parts]), [part.batch.cond for part in parts]
        labels = None if cond[0] is None else torch.cat([one for one in cond if one is not None])
        for name in self.terms:
            self.loss(name, Batch(x, labels))
        for part in parts:
            part.buffers = [b.clone() for b in self._buffers]

    def _streams(self) -> list[Tensor]:
        """The states of torch's generators."""
        cuda = [torch.cuda.get_rng_state(self.device)] if self._forked else []
        return [torch.get_rng_state(), *cuda]

    def _turns(self, parts: list[_Part]) -> Iterator[_Part]:
        """The parts one after the other, each with its random streams and buffers."""
        if len(parts) == 1:
            yield parts[0]
            return
        for part in parts:
            torch.set_rng_state(part.streams[0])
            if self._forked:
                torch.cuda.set_rng_state(part.streams[1], self.device)
            for b, own in zip(self._buffers, part.buffers, strict=True):
                b.copy_(own)
            yield part
            part.streams, part.buffers = self._streams(), [b.clone() for b in self._buffers]

    @torch.no_grad()
    def _share_buffers(self, parts: list[_Part]) -> None:
        """Let saved buffers be the mean over all parts of a batch; others, such as chains, stay with their part."""
        if len(parts) > 1:
            self._kept = [[part.buffers[i] for i in self._unsaved] for part in parts]
            for i, b in enumerate(self._buffers):
                values = [part.buffers[i] for part in parts]
                mean = b.is_floating_point() and i not in self._unsaved
                b.copy_(torch.stack(values).mean(0) if mean else values[0])
        real = [b for b in self._shared if b.is_floating_point()]
        if self.processes.world > 1 and real:
            flat = torch.cat([b.flatten() for b in real])
            self.processes.average(flat)
            for b, value in zip(real, torch.split(flat, [b.numel() for b in real]), strict=True):
                b.copy_(value.view_as(b))

    def _encoded(self, raw: Batch) -> Batch:
        """An encoded batch on the model's device, images in channels-last."""
        batch = Batch(raw.x.to(self.device), None if raw.cond is None else raw.cond.to(self.device))
        codec = self.model.codec
        with torch.no_grad():
            if not self.encoded:
                batch = self.model.encode(*batch)
            elif isinstance(codec, CachedCodec):
                batch = batch._replace(x=codec.draw(batch.x))
        return batch._replace(x=channels_last(batch.x))

    @contextmanager
    def _only(self, name: str) -> Iterator[None]:
        """Inside, everything is frozen that a term does not train; it may be entered twice."""
        thawed = [p for p in self._frozen[name] if p.requires_grad]
        for p in thawed:
            p.requires_grad_(False)
        try:
            yield
        finally:
            for p in thawed:
                p.requires_grad_(True)

    def _backward(self, name: str, parts: list[_Part]) -> float:
        """Add up the gradients of one term over this process's parts; return the mean loss of all processes."""
        total = torch.zeros((), device=self.device)
        with self._only(name):
            for part in self._turns(parts):
                with self._wrapper.last(name, part is parts[-1]):
                    with self.precision.context(self.device):
                        loss = self._wrapper(name, part.batch).mean()
                    if len(parts) > 1:
                        loss = loss / len(parts)
                    torch.autograd.backward(loss)
                total += loss.detach()
        self.processes.average(total)
        return float(total)

    def _update(self, name: str, loss: float, rate: float) -> float:
        """Gather gradients, clip, update; return the norm before clipping."""
        optimizer = self.optimizers[name]
        self.weights.gather(optimizer.slots)
        for slot in optimizer.slots if self.processes.sharded else ():
            if not slot.sharded:  # the wrapper leaves those without dimensions alone
                self.processes.average(slot.view(self.weights.gradient))
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
                self._wrapper.changed()

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

    def live(self) -> dict[str, Tensor]:
        """The tensors that training continues from by name, in the memory that it works with.

        They are weights, their average, what optimizers keep of each parameter, buffers, and the parameters that no
        term trains (``fixed``), such as those of a codec or of earlier stages. Sharded ones know their place.
        """
        found = {f"weights.{name}": value for name, value in self.weights.named(self.weights.flat).items()}
        if self.weights.average is not self.weights.flat:
            found |= {f"average.{name}": value for name, value in self.weights.named(self.weights.average).items()}
        found |= {f"fixed.{name}": value.detach() for name, value in self.weights.fixed(self.model).items()}
        found |= {f"buffer.{name}": b for name, b in self.model.named_buffers()}
        for name, optimizer in self.optimizers.items():
            found |= {f"optimizer.{name}.{key}": value for key, value in optimizer.live().items()}
        return found

    def numbers(self) -> dict[str, Tensor]:
        """The small rest of the state: counts and dtypes of the optimizers."""
        return {
            f"optimizer.{name}.{key}": value
            for name, optimizer in self.optimizers.items()
            for key, value in optimizer.numbers().items()
        }

    def state(self) -> dict[str, Tensor]:
        """A copy of every tensor that training needs to continue: :meth:`live` and :meth:`numbers`."""
        return {key: value.detach().contiguous().clone() for key, value in (self.live() | self.numbers()).items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor], progress: Progress) -> None:
        """Continue from a :meth:`state`. The model must have had its ``fixed`` part when the loop was made.

        Raises:
            ValueError: if the state belongs to another model.
        """
        if "weights.flat" in state:
            self._load_flat(state)
        else:
            fill({key: value for key, value in self.live().items() if not key.startswith("fixed.")}, state)
            for name, optimizer in self.optimizers.items():
                optimizer.load_numbers(_of(state, f"optimizer.{name}."))
        self.progress = replace(progress, per_epoch=self.progress.per_epoch)
        self._lower()

    def _load_flat(self, state: Mapping[str, Tensor]) -> None:
        """Load the state of an older run, which holds flat tensors."""
        if self.processes.sharded:
            raise ValueError("the run was saved by an older version: resume it without fsdp")
        if state["weights.flat"].shape != self.weights.flat.shape:
            raise ValueError("the saved state belongs to a model of another size: resume with what it was started with")
        self.weights.flat.copy_(state["weights.flat"])
        self.weights.average.copy_(state["weights.average"])
        for name, b in self.model.named_buffers():
            b.copy_(state[f"buffer.{name}"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_flat(_of(state, f"optimizer.{name}."))


def _of(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The part of a state whose names begin with a prefix, without it."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _within(precision: Precision, model: GenerativeModel, processes: Processes) -> Precision:
    """Low-precision weights, or autocast where shards of networks and of other parameters would have two dtypes."""
    trained = {p for term in model.terms().values() for p in term.trainable() if p.ndim}
    mixed = processes.sharded and precision.weights != torch.float32 and not trained <= network_parameters(model)
    return replace(PRECISIONS["autocast"], compiled=precision.compiled) if mixed else precision


def channels_last(x: Tensor) -> Tensor:
    """Real images ``(B, C, H, W)`` in channels-last memory; other tensors are returned as they are."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 and x.is_floating_point() else x


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
    parts: int = 0,
    recomputes: bool = False,
) -> Loop:
    """Make the loop of a model. If training is ``fresh``, the codec first takes its statistics from the training data.

    The time in which a learned codec encodes the data counts as training. If that would take more seconds than
    ``patience``, each batch is encoded when its step comes. On a CPU the process keeps large blocks of memory from here
    on (see :func:`~fourfold.engine.memory.keep_memory`).
    """
    if model.device.type == "cpu":
        keep_memory()
    rest: Any = {"parts": parts, "recomputes": recomputes}
    if callable(data):
        return Loop(model, data, training, seed, precision, processes, **rest)
    if not isinstance(data, (Dataset, Split, Tensor, np.ndarray)):
        stream = Stream(data, model.space)
        if fresh:
            _fit_codec(model, stream.first(), seed)
        return Loop(model, stream, training, seed, precision, processes, stream.steps_per_epoch, **rest)
    if not processes.sharded:
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
            streamed, training.batch_size, seed, processes.rank, processes.world, model.space.conditional, parts
        )
        ahead = Ahead(files, free_workers(model.device, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
        loop = Loop(model, ahead, training, seed, precision, processes, files.steps_per_epoch, **rest)
        loop.progress = replace(loop.progress, seconds=seconds)
        return loop
    loader = Loader(
        split if codes is None else Split(codes, split.cond),
        model.space,
        training.batch_size,
        seed,
        processes.rank,
        processes.world,
        parts,
    )
    encoded, smooths, epoch = codes is not None, len(split.x) <= FEW, loader.steps_per_epoch
    loop = Loop(model, loader, training, seed, precision, processes, epoch, encoded, smooths, parts, recomputes)
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
