"""The dtype in which a step computes: measured at the start, and chosen by speed and stability."""

from __future__ import annotations

import math
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fourfold.engine.hardware import multiplies_bf16
from fourfold.engine.weights import network_parameters

if TYPE_CHECKING:
    from fourfold.engine.loop import Loop

__all__ = ["FLOAT32", "PRECISIONS", "Choice", "Precision", "Timing", "choose", "inference", "parse_precision"]


@dataclass(frozen=True)
class Precision:
    """How a step computes.

    Attributes:
        name: ``float32``, ``bf16`` or ``autocast``.
        weights: dtype in which networks hold their weights; masters, losses and optimizers are float32.
        autocast: whether matrix products and convolutions are cast to bfloat16 one by one.
        compiled: whether terms go through ``torch.compile``.
    """

    name: str
    weights: torch.dtype = torch.float32
    autocast: bool = False
    compiled: bool = False

    def context(self, device: torch.device) -> AbstractContextManager[object]:
        """The context that a forward pass runs in."""
        return torch.autocast(device.type, torch.bfloat16) if self.autocast else nullcontext()

    def __str__(self) -> str:
        return self.name + (", compiled" if self.compiled else "")


FLOAT32 = Precision("float32")
PRECISIONS = {
    "float32": FLOAT32,
    "bf16": Precision("bf16", weights=torch.bfloat16),
    "autocast": Precision("autocast", autocast=True),
}


def parse_precision(name: str, compiled: bool = False) -> Precision:
    """The precision of a name.

    Raises:
        ValueError: for an unknown name, or if steps shall be compiled and there is no C++ compiler.
    """
    if name not in PRECISIONS:
        raise ValueError(f"unknown precision {name!r}: choose one of {', '.join(PRECISIONS)}")
    if compiled and not has_compiler():
        raise ValueError("--compile needs a C++ compiler (g++ or clang++): install one, or leave --compile out")
    found = PRECISIONS[name]
    return Precision(found.name, found.weights, found.autocast, compiled)


def has_compiler() -> bool:
    """Whether ``torch.compile`` finds a C++ compiler."""
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))


@dataclass(frozen=True)
class Timing:
    """The measurement of a precision: typical seconds per step, cosine of its gradients with float32's, its failure."""

    precision: Precision
    seconds: float
    cosine: float
    failure: str = ""

    @property
    def stable(self) -> bool:
        """Whether every loss was finite and the gradient points where float32's does."""
        return not self.failure and self.cosine > 0.99

    def __str__(self) -> str:
        if self.failure:
            return f"{self.precision} failed ({self.failure})"
        return f"{self.precision} {self.seconds * 1e3:.3g} ms (gradient cosine {self.cosine:.4f})"


@dataclass(frozen=True)
class Choice:
    """The chosen precision, the measurements behind it, and the seconds that they took, which no budget counts."""

    precision: Precision
    measured: Sequence[Timing] = ()
    note: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        times = [f"{m.precision} {f'{m.seconds * 1e3:.3g} ms' if not m.failure else 'failed'}" for m in self.measured]
        cosine = min((m.cosine for m in self.measured if m.precision == self.precision), default=1.0)
        figures = f" ({', '.join(times)} a step; gradient cosine {cosine:.4f})" if times else ""
        return f"precision {self.precision}{figures}" + (f"; {self.note}" if self.note else "")

    def record(self) -> dict[str, Any]:
        """The choice as ``card.json`` records it."""
        name, compiled = self.precision.name, self.precision.compiled
        measured = [str(m) for m in self.measured]
        return {"name": name, "compiled": compiled, "measured": measured, "seconds": round(self.seconds, 3)}


def choose(loop: Loop, seconds: float = 4.0, compiled: bool = False) -> Choice:
    """Measure every precision for a moment on throw-away copies, and take the fastest stable one.

    If one float32 step takes longer than the time for one precision, no other is tried.

    Args:
        loop: the training, in any precision; it stays as it is.
        seconds: the time of all steps together, beyond one step in each precision.
        compiled: whether compiled steps are measured, too.
    """
    emulated = not multiplies_bf16(loop.device)
    candidates = [FLOAT32] if emulated else [parse_precision(name) for name in PRECISIONS]
    if compiled and has_compiler():
        candidates += [parse_precision(name, compiled=True) for name in ("float32", "bf16")[: 1 if emulated else 2]]
    if len(candidates) == 1:
        return Choice(FLOAT32, note="this processor multiplies no other precision faster")
    note = "no C++ compiler, so nothing was compiled" if compiled and not has_compiler() else ""
    start, share = time.monotonic(), seconds / len(candidates)
    reference, first = _measure(loop, candidates[0], share, [])
    if reference.seconds > share:
        note = "no other was tried, because one step already took the time for that"
        return Choice(FLOAT32, [reference], note, time.monotonic() - start)
    measured = [reference] + [_measure(loop, candidate, share, first)[0] for candidate in candidates[1:]]
    stable = [m for m in measured if m.stable] or [reference]
    chosen = min(stable, key=lambda m: m.seconds).precision
    return Choice(chosen, measured, note, time.monotonic() - start)


def _measure(
    loop: Loop, precision: Precision, seconds: float, reference: Sequence[Tensor]
) -> tuple[Timing, list[Tensor]]:
    """Run steps on a copy for some seconds, at least one; the first gives the gradients and is timed only if alone."""
    times: list[float] = []
    gradients: list[Tensor] = []
    try:
        trial = loop.copy(precision)
        while not times or (len(times) < 20 and sum(times) < seconds):
            times.append(trial.step(0.5).seconds)
            gradients = gradients or trial.gradients()
    except (
        ArithmeticError,
        RuntimeError,
        TypeError,
    ) as failure:  # such as an operation that does not support the dtype
        return Timing(precision, math.inf, 0.0, str(failure).splitlines()[0][:80]), gradients
    cosines = [_cosine(g, r) for g, r in zip(gradients, reference, strict=False)]
    return Timing(precision, _typical(times[1:] or times), min(cosines, default=1.0)), gradients


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.cosine_similarity(a.double(), b.double(), dim=0))


def _typical(times: Sequence[float]) -> float:
    """The median of the faster half, since other work on the machine can only make a step slower."""
    return statistics.median(sorted(times)[: (len(times) + 1) // 2])


@contextmanager
def inference(model: nn.Module, name: str = "bf16") -> Iterator[None]:
    """Inside, the networks of a model hold their weights in the dtype of a precision; afterwards, as before.

    This is meant for sampling: solvers, likelihoods and everything outside networks stay in float32.
    """
    precision = parse_precision(name)
    before = [(p, p.data) for p in network_parameters(model)]
    for p, data in before:
        p.data = data.to(precision.weights)
    device = next((p.device for p, _ in before), torch.device("cpu"))
    try:
        with precision.context(device):
            yield
    finally:
        for p, data in before:
            p.data = data
