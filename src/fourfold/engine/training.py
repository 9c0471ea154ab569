"""``train``: training as a generator, and ``begin``, which makes its loop from a model and data."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Batch, CachedCodec, GenerativeModel, Staged, Training
from fourfold.core.memory import keep_memory
from fourfold.data import Dataset, Split
from fourfold.engine.gradients import GradientRule, MeanRule
from fourfold.engine.loader import Ahead, Batches, FileLoader, Stream, free_workers
from fourfold.engine.loop import Loop
from fourfold.engine.step import Step
from fourfold.parallel.models import arrange
from fourfold.parallel.processes import ALONE, Processes
from fourfold.runs.budget import Budget, parse_budget
from fourfold.runs.precision import FLOAT32, Precision, parse_precision
from fourfold.tasks.examples import raw_examples

__all__ = ["begin", "train"]


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
    first training or evaluation on (``mallopt``), instead of going back to the system after each operation.

    Args:
        model: the model, which is trained in place.
        data: a data set or split; a tensor or array of raw examples; an iterable of batches, with or without labels,
            that can be iterated again, such as a torch ``DataLoader``; or a function from the step to a raw ``Batch``.
            With a function, the codec's statistics must be set before.
        budget: when training ends. The learning rate follows the used fraction of it.
        training: settings of training. By default those of the model's preset.
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
        while not _is_over(loop, budget):
            at = budget.next_fraction(loop.progress)
            watch = (loop.progress.steps + 1) % watch_every == 0
            noise = loop.training.noise(at) if loop.smooths else 0.0
            step = loop.step(loop.rate(at), watch, noise)
            yield replace(step, used=min(budget.fraction(loop.progress), 1.0))
    finally:
        loop.finish()


def _is_over(loop: Loop, budget: Budget) -> bool:
    """True if the budget is spent. Every process stops at the same step, by the clock of the first."""
    if loop.processes.world > 1 and math.isfinite(budget.seconds):
        times = torch.tensor([loop.progress.seconds, loop.progress.last], dtype=torch.float64)
        loop.processes.broadcast(times)
        loop.progress = replace(loop.progress, seconds=float(times[0]), last=float(times[1]))
    return budget.is_over(loop.progress)


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
    rule: GradientRule | None = None,
) -> Loop:
    """Make the loop of a model. If training is ``fresh``, the codec first takes its statistics from the training data.

    The time in which a learned codec encodes the data counts as training. If that would take more seconds than
    ``patience``, each batch is encoded when its step comes. On a CPU the process keeps large blocks of memory from here
    on (see :func:`~fourfold.core.memory.keep_memory`).
    """
    if model.device.type == "cpu":
        keep_memory()
    rule = rule or MeanRule()
    rest: Any = {"parts": parts, "recomputes": recomputes, "rule": rule}
    if callable(data):
        return Loop(model, data, training, seed, precision, processes, **rest)
    if not isinstance(data, (Dataset, Split, Tensor, np.ndarray)):
        stream = Stream(data, model.space)
        if fresh:
            _fit_statistics(model, stream.first(), seed)
        return Loop(model, stream, training, seed, precision, processes, stream.steps_per_epoch, **rest)
    arrange(model, processes)
    if isinstance(data, (Tensor, np.ndarray)):
        data = Split(raw_examples(data, model.space))
    split = data.train if isinstance(data, Dataset) else data
    start = time.monotonic()
    if fresh:
        statistics = data.statistics if isinstance(data, Dataset) else None
        _fit_statistics(model, statistics or Batch(split.x, split.cond), seed)
        if statistics is not None:
            model.estimand.start(statistics.x, model.codec)
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
    encoded, smooths = codes is not None, len(split.x) <= FEW
    examples = split if codes is None else Split(codes, split.cond)
    loader = rule.loader(examples, model.space, training, seed, processes, parts)
    epoch = loader.steps_per_epoch
    loop = Loop(model, loader, training, seed, precision, processes, epoch, encoded, smooths, **rest)
    loop.progress = replace(loop.progress, seconds=seconds)
    return loop


def _fit_statistics(model: GenerativeModel, examples: Batch, seed: int) -> None:
    """Fit the statistics of codec and estimand. The seed fixes their draws."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.fit_statistics(examples.x, examples.cond)


FEW = 1000
"""The most examples of a small table, to which noise is added in training."""


MOST_CODES = 2**31
"""The most bytes of codes that are kept in memory instead of being encoded batch by batch."""


@torch.no_grad()
def _codes(model: GenerativeModel, x: Tensor, patience: float) -> Tensor | None:
    """All codes of a learned codec, or its cached analysis of examples. ``None`` if that is random, large or slow."""
    codec = model.codec
    if not any(True for _ in codec.parameters()) or model.space.window is not None:
        return None
    model.eval()
    with torch.random.fork_rng(devices=[]):
        encode = codec.analyse if isinstance(codec, CachedCodec) else lambda part: codec.encode(part)[0]
        first, second = (encode(x[:2].to(model.device)) for _ in range(2))
        if not torch.equal(first, second) or first[0].numel() * first.element_size() * len(x) > MOST_CODES:
            return None
        parts, start, chunks = list[Tensor](), time.monotonic(), torch.split(x, 256)
        for chunk in chunks:
            parts.append(encode(chunk.to(model.device)).cpu())
            if (time.monotonic() - start) * len(chunks) / len(parts) > patience:
                return None
        return torch.cat(parts)
