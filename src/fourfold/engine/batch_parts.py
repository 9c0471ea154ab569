"""The parts of a batch, which a process takes one after the other.

Each part has random streams of its own, seeded by its number, and buffers of its own. A step is therefore the same for
any number of processes among which the parts are divided.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from fourfold.core import Batch, CachedCodec, GenerativeModel
from fourfold.parallel.processes import Processes

__all__ = ["BatchPart", "BatchParts", "channels_last", "reseed"]


@final
@dataclass
class BatchPart:
    """A part of a step's batch, with the random streams and the buffers in which its last turn ended."""

    batch: Batch
    streams: list[Tensor]
    buffers: list[Tensor]


@final
class BatchParts:
    """Divides batches into parts, and gives each of them its random streams and buffers in its turn.

    Args:
        model: the model, whose codec encodes and whose buffers change in a step.
        count: number of parts of a batch, over all processes.
        seed: the draws of part ``i`` at step ``s`` are seeded by ``(seed, s, i)``.
        processes: this process among others that take the same number of parts each.
        encoded: whether batches are encoded already, or, for a :class:`~fourfold.core.CachedCodec`, analysed.
        uneven: whether parts may differ in size.

    Raises:
        ValueError: if the parts cannot be divided among the processes.
    """

    def __init__(
        self,
        model: GenerativeModel,
        count: int,
        seed: int,
        processes: Processes,
        encoded: bool,
        uneven: bool = False,
    ) -> None:
        if count % processes.world:
            raise ValueError(f"parts must be a multiple of the {processes.world} processes, got {count}")
        self.model, self.count, self.seed, self.processes, self.encoded = model, count, seed, processes, encoded
        self.device, self.uneven = model.device, uneven
        saved, codec = set(model.state_dict(keep_vars=True)), set(model.codec.buffers())
        self._buffers = [b for _, b in model.named_buffers()]
        self._shared = [b for name, b in model.named_buffers() if name in saved and b not in codec]
        self._unsaved = [i for i, (name, _) in enumerate(model.named_buffers()) if name not in saved]
        self._unsaved_values: list[list[Tensor]] = []

    @property
    def forked(self) -> list[torch.device]:
        """The devices whose random streams a step changes, beside that of the CPU."""
        return [self.device] if self.device.type == "cuda" else []

    def divide(self, raw: Batch, step: int, noise: float = 0.0) -> list[BatchPart]:
        """This process's parts of a raw batch, encoded.

        Args:
            raw: this process's rows of the batch of a step.
            step: number of steps done before.
            noise: standard deviation of the noise that is added to encoded batches.

        Raises:
            ValueError: if the rows cannot be divided into equal parts.
        """
        count = self.count // self.processes.world
        if len(raw.x) % count and not self.uneven:
            raise ValueError(f"a batch must be divisible into {count} equal parts, got {len(raw.x)}; accumulate less")
        x, cond = raw.x.tensor_split(count), [None] * count if raw.cond is None else raw.cond.tensor_split(count)
        parts = []
        for i in range(count):
            reseed(_mix(self.seed, step, self.processes.rank * count + i), self.device)
            batch = self.encode(Batch(x[i], cond[i]))
            if noise and batch.x.is_floating_point():
                batch = batch._replace(x=batch.x + noise * torch.randn_like(batch.x))
            parts.append(BatchPart(batch, self._streams(), []))
        if count > 1:
            self.copy_buffers(parts)
            for part, values in zip(parts, self._unsaved_values, strict=False):
                for at, value in zip(self._unsaved, values, strict=True):
                    part.buffers[at] = value
        return parts

    def copy_buffers(self, parts: list[BatchPart]) -> None:
        """Give each part a copy of the model's buffers."""
        for part in parts:
            part.buffers = [b.clone() for b in self._buffers]

    def _streams(self) -> list[Tensor]:
        """The states of torch's generators."""
        cuda = [torch.cuda.get_rng_state(self.device)] if self.forked else []
        return [torch.get_rng_state(), *cuda]

    def turns(self, parts: list[BatchPart]) -> Iterator[BatchPart]:
        """The parts one after the other, each with its random streams and buffers."""
        if len(parts) == 1:
            yield parts[0]
            return
        for part in parts:
            torch.set_rng_state(part.streams[0])
            if self.forked:
                torch.cuda.set_rng_state(part.streams[1], self.device)
            for b, value in zip(self._buffers, part.buffers, strict=True):
                b.copy_(value)
            yield part
            part.streams, part.buffers = self._streams(), [b.clone() for b in self._buffers]

    @torch.no_grad()
    def share_buffers(self, parts: list[BatchPart]) -> None:
        """Let saved buffers be the mean over all parts of a batch. Others, such as chains, stay with their part."""
        if len(parts) > 1:
            self._unsaved_values = [[part.buffers[i] for i in self._unsaved] for part in parts]
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

    def encode(self, raw: Batch) -> Batch:
        """An encoded batch on the model's device, images in channels-last."""
        batch = Batch(raw.x.to(self.device), None if raw.cond is None else raw.cond.to(self.device))
        codec = self.model.codec
        with torch.no_grad():
            if not self.encoded:
                batch = self.model.encode(*batch)
            elif isinstance(codec, CachedCodec):
                batch = batch._replace(x=codec.draw(batch.x))
        return batch._replace(x=channels_last(batch.x))


def channels_last(x: Tensor) -> Tensor:
    """Real images ``(B, C, H, W)`` in channels-last memory. Other tensors are returned as they are."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 and x.is_floating_point() else x


def reseed(seed: int, device: torch.device) -> None:
    """Seed the random streams that a step on a device draws from.

    On a CPU that is one generator. :func:`torch.manual_seed` also writes a stack trace for each kind of device that is
    not in use, which takes up to half a millisecond, a tenth of a small step.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def _mix(*parts: int) -> int:
    """One seed from several numbers."""
    mixed = 0
    for part in parts:
        mixed = (mixed * 0x9E3779B97F4A7C15 + part + 0xD1B54A32D192ED03) % 2**63
    return mixed
