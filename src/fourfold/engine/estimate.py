"""The needs of a training, before anything is allocated: parameters, memory of each process, operations of a step.

The model is built on the meta device, where tensors have shapes but no values, and a step of it is run there: its
products are counted, and so are the bytes that the backward pass keeps.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.fx.experimental import _config

from fourfold.core import Batch, GenerativeModel, Space, Training, as_condition
from fourfold.engine.flops import Counter
from fourfold.engine.weights import Update, layout
from fourfold.paradigms import build_recipe
from fourfold.parallel.blocks import blocks, keep, recompute

__all__ = ["Estimate", "estimates", "free_bytes", "in_words", "planned", "product_rate", "whole_bytes"]

WAYS = ("none", "ddp", "fsdp")
FLOAT = 4
"""Bytes of a master weight, and of everything that optimizers keep."""


def planned(recipe: str, space: Space, size: str) -> GenerativeModel:
    """The model of a recipe on the meta device: it has shapes, and no values."""
    with torch.device("meta"):
        return build_recipe(recipe, space, size)[1]


def in_words(size: float) -> str:
    """A number of bytes with a unit: ``1.5 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"


def free_bytes(device: torch.device) -> int:
    """The free memory of a GPU, or of this machine divided among the processes that run on it."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            line = next(line for line in file if line.startswith("MemAvailable"))
        free = int(line.split()[1]) * 1024
    except (OSError, StopIteration, ValueError):
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return free // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def whole_bytes(model: GenerativeModel, world: int = 2) -> int:
    """The bytes that each process needs for whole weights and all that belongs to them, activations left out."""
    return max(sum(_state_bytes(part, "ddp", world).values()) for part, _ in _models_in_order(model))


@final
@dataclass(frozen=True)
class Estimate:
    """The needs of the training of a model, or of one of its stages.

    Attributes:
        name: name of the stage. Empty for the model itself.
        parameters: trained parameters.
        batch: examples of a step, in all processes together.
        ranks: number of processes, among which ``ddp`` and ``fsdp`` divide it.
        memory: bytes of each process by part, for each way to share a training.
        operations: floating-point operations of a step, in all processes together. NaN where they are unknown.
        rate: operations a second of one process.
        unknown: why activations and operations are unknown. Empty if they are known.
    """

    name: str
    parameters: int
    batch: int
    ranks: int
    memory: Mapping[str, Mapping[str, int]]
    operations: float
    rate: float
    unknown: str = ""

    def seconds(self, way: str) -> float:
        """Seconds of a step at the rate, without communication: in every way but ``none`` the ranks share it."""
        return self.operations / self.rate / (1 if way == "none" else self.ranks)

    def record(self) -> dict[str, Any]:
        """The estimate as a JSON value."""
        is_finite = math.isfinite(self.operations)
        seconds = {way: self.seconds(way) if is_finite else None for way in self.memory}
        return asdict(self) | {"operations": self.operations if is_finite else None, "seconds": seconds}

    def table(self) -> str:
        """The estimate in words and as a table of at most 80 columns."""
        titles = {"none": "one process", "ddp": f"ddp x {self.ranks}", "fsdp": f"fsdp x {self.ranks}"}
        lines = [
            f"{self.name or 'model'}: {self.parameters:,} parameters, batches of {self.batch}",
            f"{'memory of each process':<26}" + "".join(f"{titles[way]:>17}" for way in self.memory),
        ]
        columns = self.memory.values()
        sums = [sum(column.values()) for column in columns]
        rows = [*((part, [column[part] for column in columns]) for part in self.memory["none"]), ("together", sums)]
        lines += [f"  {part:<24}" + "".join(f"{in_words(size):>17}" for size in sizes) for part, sizes in rows]
        if self.unknown:
            return "\n".join([*lines, f"activations and operations are not known: {self.unknown}"])
        lines.append(
            f"operations of a step: {self.operations:.3g}; this machine multiplies at {self.rate:.3g} a second"
        )
        times = "".join(f"{self.seconds(way):>15.3g} s" for way in self.memory)
        return "\n".join([*lines, f"{'seconds a step, at least':<26}" + times])


def estimates(
    model: GenerativeModel, training: Training, ranks: int = 1, low: bool = False, recomputes: bool | None = None
) -> list[Estimate]:
    """The needs of the training of a model and of its stages.

    Args:
        model: a model of :func:`planned`.
        training: its settings of training. Stages have those of their presets.
        ranks: number of processes.
        low: whether networks compute in bfloat16.
        recomputes: whether large blocks are computed again in the backward pass. By default where there are any.
    """
    rate = product_rate(torch.bfloat16 if low else torch.float32)
    parts = []
    for part, name in _models_in_order(model):
        settings = training if part is model else part.training_defaults
        again = bool(blocks(part)) if recomputes is None else recomputes
        batch, unknown = settings.batch_size, ""
        activations, operations = 0, math.nan
        try:
            activations, operations = _step(part, batch, again)
        except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
            unknown = f"its loss reads values ({type(error).__name__})"
        memory = {}
        for way in WAYS:
            share = activations // (1 if way == "none" else ranks) // (2 if low else 1)
            memory[way] = {**_state_bytes(part, way, ranks, low, settings), "activations": share}
        parameters = sum(slot.parameter.numel() for slot in layout(part, part.terms(), False))
        parts.append(Estimate(name, parameters, batch, ranks, memory, operations, rate, unknown))
    return parts


def _models_in_order(model: GenerativeModel, name: str = "") -> Iterator[tuple[GenerativeModel, str]]:
    """The models that are trained one after the other, each with its name."""
    for stage in model.stages():
        yield from _models_in_order(stage.model, f"{name}/{stage.name}".lstrip("/"))
    yield model, name


def _state_bytes(
    model: GenerativeModel, way: str, ranks: int, low: bool = False, training: Training | None = None
) -> dict[str, int]:
    """The bytes that one process holds by part, activations left out."""
    settings = training or model.training_defaults
    slots = layout(model, model.terms(), settings.muon_rate is not None)
    count = sum(slot.parameter.numel() for slot in slots)
    muon = sum(slot.parameter.numel() for slot in slots if slot.update is Update.MUON)
    parameters = {slot.parameter for slot in slots}
    fixed = sum(p.numel() for p in model.parameters() if p not in parameters) + sum(b.numel() for b in model.buffers())
    share = count // (ranks if way == "fsdp" else 1)
    copies = FLOAT if way == "fsdp" else 2 if low else 0
    buckets = FLOAT if way == "ddp" else 0
    parts = {
        "weights": share * (FLOAT + copies) + fixed * FLOAT,
        "average and kept weights": share * 2 * FLOAT,
        "gradients": share * (2 * FLOAT + buckets),
        "optimizer states": FLOAT * (2 * (count - muon) + muon) * share // max(count, 1),
        "brought together": 0,
    }
    if way == "fsdp":
        large = [sum(p.numel() for p in block.parameters()) for block in blocks(model)]
        rest, width = count - sum(large), 2 if low else FLOAT
        parts["brought together"] = (rest + 2 * max(large, default=0)) * (width + FLOAT)
    return parts


def _step(model: GenerativeModel, batch: int, again: bool) -> tuple[int, float]:
    """The bytes that the backward pass keeps, and the operations of a step, of a model on the meta device."""
    large = blocks(model)
    sizes: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(value: Tensor) -> Tensor:
        if not isinstance(value, nn.Parameter) and value._base is None:
            alive.append(value)  # so that no other tensor takes its identity
            sizes[id(value)] = value.numel() * value.element_size()
        return value

    model.train()
    most, operations = 0, 0.0
    with ExitStack() as stack:
        stack.enter_context(torch.device("meta"))
        every = _config.patch(meta_nonzero_assume_all_nonzero=True)  # type: ignore[attr-defined]
        stack.enter_context(every)  # cells that a loss picks are all that there can be
        counter = stack.enter_context(Counter())
        x, cond = _examples(model, batch)
        if again:
            recompute(large)
            stack.callback(keep, large)
        for term in model.terms().values():
            sizes.clear()
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
                loss = term(Batch(x, cond)).mean()
            most = max(most, sum(sizes.values()))
            alive.clear()
            loss.backward()
        operations = counter.total
    model.zero_grad()
    return most, operations


def _examples(model: GenerativeModel, batch: int) -> tuple[Tensor, Tensor | None]:
    """Encoded examples and labels on the meta device: their shapes are all that counts."""
    with torch.device("cpu"):
        raw = model.space.examples(2, torch.Generator().manual_seed(0))
    try:
        code = model.codec.encode(raw.to("meta"))[0]
    except (RuntimeError, NotImplementedError):
        code = torch.empty(2, *model.codec.event)
    x = torch.empty(batch, *code.shape[1:], dtype=code.dtype, device="meta")
    if model.space.given is None:
        return x, None
    with torch.device("cpu"):
        cond = as_condition(model.space.given.examples(1, torch.Generator().manual_seed(0)))
    return x, cond.to("meta").expand(batch, *cond.shape[1:])


def product_rate(dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> float:
    """The operations a second of this machine's matrix products: the fastest of a few, on the threads of now."""
    place = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    side = 8192 if place.type == "cuda" else 1024
    a = torch.ones(side, side, dtype=dtype, device=place)
    best = math.inf
    for _ in range(4):
        start = time.perf_counter()
        float((a @ a)[0, 0])
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best
