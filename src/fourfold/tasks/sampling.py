"""Draw samples of a trained model in batches, and measure their cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from fourfold.core import GenerativeModel, Noise, count_evaluations
from fourfold.metrics.score import Measurement

__all__ = ["Drawn", "draw"]


@final
@dataclass(frozen=True)
class Drawn:
    """Samples and their cost.

    Attributes:
        x: raw samples, ``(n, *shape)``.
        seconds: wall-clock time of all.
        evaluations: network evaluations per sample, counted.
        batch_size: samples in a batch.
        laps: milliseconds per sample of each batch.
    """

    x: Tensor
    seconds: float
    evaluations: float
    batch_size: int
    laps: tuple[float, ...] = ()

    def scores(self) -> list[Measurement]:
        """Network evaluations and milliseconds per sample. The interval of the latter is their range over batches."""
        n, threads = len(self.x), torch.get_num_threads()
        device = f"batches of {self.batch_size}, {threads} thread{'s' * (threads > 1)}"
        hook = "counted by a hook on the estimand's network"
        value = 1e3 * self.seconds / n
        several = len(self.laps) > 1
        low, high = (min(*self.laps, value), max(*self.laps, value)) if several else (math.nan, math.nan)
        timed = f"{device}; interval: the range over {len(self.laps)} batches" if several else device
        return [
            Measurement("evaluations_per_sample", self.evaluations, n=n, protocol=hook, better="lower"),
            Measurement("milliseconds_per_sample", value, low, high, n=n, protocol=timed, unit="ms", better="lower"),
        ]


def draw(
    model: GenerativeModel,
    n: int,
    seed: int = 0,
    cond: Tensor | None = None,
    seconds: float | None = None,
    batch_size: int | None = None,
    advance: Callable[[int], None] | None = None,
) -> Drawn:
    """Draw ``n`` samples in batches. When ``seconds`` are over, stop early, but not before one batch of 64.

    Args:
        model: trained.
        n: number of samples.
        seed: fixes the samples.
        cond: conditions, ``(n, *)``.
        seconds: time after which no new batch begins.
        batch_size: rounded down to a multiple of 64. ``None``: the model's default.
        advance: called with the number drawn after each batch.
    """
    parts: list[Tensor] = []
    laps: list[float] = []
    total, start = 0, time.perf_counter()
    step = Noise.whole_blocks(batch_size or model.rows_at_once)
    with count_evaluations(model.estimand) as count:
        while total < n and (seconds is None or not total or time.perf_counter() - start < seconds):
            size = min(64 if not total and seconds is not None else step - total % step, n - total)
            labels = None if cond is None else cond[total : total + size]
            lap_start = time.perf_counter()
            parts.append(model.sample(size, labels, seed, step, start=total).cpu())
            laps.append(1e3 * (time.perf_counter() - lap_start) / size)
            total += size
            if advance is not None:
                advance(total)
    return Drawn(torch.cat(parts), time.perf_counter() - start, count.rows / total, min(step, n), tuple(laps))
