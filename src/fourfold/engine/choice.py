"""The choice of the precision of steps: by the speed of this machine's kernels, and by stability."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from fourfold.core import GenerativeModel
from fourfold.engine.kernels import bf16_gains, multiplies_bf16
from fourfold.engine.loop import Loop
from fourfold.engine.weights import network_parameters
from fourfold.parallel.processes import Processes
from fourfold.runs.budget import Budget
from fourfold.runs.precision import FLOAT32, PRECISIONS, Precision, parse_precision
from fourfold.runs.settings import FitSettings
from fourfold.settings.declaration import has_compiler

__all__ = ["Choice", "choose", "decided", "inference", "settle"]


@dataclass(frozen=True)
class Choice:
    """The precision that was chosen, and why.

    Attributes:
        precision: precision of the steps.
        measured: reasons in words.
        seconds: seconds of the choice. They count in the budget.
    """

    precision: Precision
    measured: Sequence[str] = ()
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"precision {self.precision}" + (f": {', '.join(self.measured)}" if self.measured else "")

    def uncompiled(self, failure: RuntimeError) -> Choice:
        """The choice without compilation, which failed, as that of second derivatives does."""
        reason = f"not compiled ({str(failure).splitlines()[0]})"
        return replace(self, precision=replace(self.precision, compiled=False), measured=[*self.measured, reason])

    def record(self) -> dict[str, Any]:
        """The choice as ``card.json`` records it."""
        name, compiled = self.precision.name, self.precision.compiled
        return {
            "name": name,
            "compiled": compiled,
            "measured": list(self.measured),
            "seconds": round(self.seconds, 3),
        }


STABLE = 0.99
"""The least cosine of a gradient in low precision with that in float32."""
FEW = 16
"""The examples of the batch on which gradients are held against each other."""


def choose(loop: Loop, compiled: bool = False) -> Choice:
    """Take bfloat16 where this machine multiplies it faster and the gradients stay, else float32.

    The kernels decide about speed, see :func:`~fourfold.engine.kernels.bf16_gains`. Only where they favour bfloat16,
    a gradient of :data:`FEW` examples is held against that in float32, with weights in bfloat16, and if these are too
    coarse, with autocast.

    Args:
        loop: the training, in any precision. It stays as it is.
        compiled: whether compiled steps are timed, too, and used if they are faster.
    """
    start = time.monotonic()
    best, measured = _fastest(loop)
    if compiled and not has_compiler():
        measured.append("no C++ compiler, so nothing is compiled")
    elif compiled:
        faster, plain_seconds = replace(best, compiled=True), _step_seconds(loop, best)
        try:
            compiled_seconds = _step_seconds(loop, faster)
        except RuntimeError as failure:
            return replace(Choice(best, measured).uncompiled(failure), seconds=time.monotonic() - start)
        measured.append(f"a step takes {plain_seconds * 1e3:.3g} ms, compiled {compiled_seconds * 1e3:.3g} ms")
        best = faster if compiled_seconds < plain_seconds else best
    return Choice(best, measured, time.monotonic() - start)


def _fastest(loop: Loop) -> tuple[Precision, list[str]]:
    """The fastest stable precision of steps that are not compiled, and why."""
    if not multiplies_bf16(loop.device):
        return FLOAT32, [f"bf16 is {_gains(loop.device)}"]
    measured = [f"bf16 is {_gains(loop.device)}"]
    trial = loop.trial(FEW)
    trial.step(0.1)  # terms initialise themselves before their first step, and a last layer of zeros moves
    reference = trial.gradient_pass()
    for precision in (PRECISIONS["bf16"], PRECISIONS["autocast"]):
        try:
            cosine = min(map(_cosine, trial.again(precision).gradient_pass(), reference), default=1.0)
        except (ArithmeticError, RuntimeError, TypeError) as failure:  # such as an operation without this dtype
            measured.append(f"{precision} fails ({str(failure).splitlines()[0][:80]})")
            continue
        measured.append(f"gradient cosine {cosine:.4f}" + ("" if cosine > STABLE else f" in {precision}: too coarse"))
        if cosine > STABLE:
            return precision, measured
    return FLOAT32, measured


def _gains(device: torch.device) -> str:
    """The speed of bfloat16: in products, batched products and convolutions on a CPU. Other devices are not timed."""
    if device.type != "cpu":
        return "faster here" if multiplies_bf16(device) else "no faster here"
    return f"{', '.join(f'{gain:.2g}' for gain in bf16_gains().values())} times as fast"


def _cosine(a: Tensor, b: Tensor) -> float:
    if not (a.any() or b.any()):  # a last layer of zeros gives the first layers no gradient
        return 1.0
    cosine = float(torch.cosine_similarity(a.double(), b.double(), dim=0))
    return cosine if math.isfinite(cosine) else 0.0


def _step_seconds(loop: Loop, precision: Precision) -> float:
    """The shortest of a few whole steps on a throw-away copy. The first, which prepares or compiles, does not count."""
    trial = loop.copy(precision)
    trial.step(0.5)
    return min(trial.step(0.5).seconds for _ in range(3))


LONG = 1800.0
"""Seconds of a budget from which compiling, which takes minutes on a CPU, can pay."""


def decided(
    model: GenerativeModel, settings: FitSettings, recorded: Mapping[str, Any] | None, processes: Processes
) -> Choice | None:
    """The precision of the settings, or that of the run resumed, or the one to take untried. ``None``: try others.

    Args:
        model: the model to train.
        settings: the settings of training.
        recorded: the choice that the card of the run records, if it is resumed.
        processes: the processes. Where they make no copies of a model, nothing is tried.
    """
    compiled = bool(settings.compile) and not model.estimand.fitted
    if settings.precision is not None:
        return Choice(parse_precision(settings.precision, compiled), ["as asked"])
    if recorded is not None:
        before = recorded.get("measured", ()), recorded.get("seconds", 0.0)
        return Choice(parse_precision(recorded["name"], recorded["compiled"]), *before)
    if processes.copies:
        return None
    if multiplies_bf16(model.device) and model.device.type != "cpu":
        return Choice(parse_precision("bf16", compiled), ["the faster one here; its gradients were not tried"])
    return Choice(parse_precision("float32", compiled), ["sharded weights are not tried in others"])


def settle(loop: Loop, budget: Budget, settings: FitSettings) -> Choice:
    """The fastest precision that is stable, if the budget is long enough to try some.

    Where steps only refine what was fitted, as weights beside trees, nothing is tried: they are few and cheap.
    """
    if loop.model.estimand.fitted:
        return Choice(FLOAT32, ["steps only refine what was fitted"])
    seconds = budget.seconds if math.isfinite(budget.seconds) else 100.0
    compiled = seconds >= LONG if settings.compile is None else settings.compile
    if seconds < 2 or budget.share(loop.progress) > 0.01:
        precision = parse_precision("float32", compiled and bool(settings.compile))
        return Choice(precision, ["the budget is too short to try others"])
    choice = choose(loop, compiled)
    return replace(choice, precision=loop.processes.same(choice.precision))


@contextmanager
def inference(model: nn.Module, name: str = "bf16") -> Iterator[None]:
    """Inside, the networks of a model hold their weights in the dtype of a precision. Afterwards, as before.

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
