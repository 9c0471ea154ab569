"""Evaluation of networks: their mode, and counts of their evaluations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from fourfold.core.estimand import Estimand
from fourfold.core.memory import keep_memory

__all__ = ["Evaluations", "count_evaluations", "evaluating"]


class Evaluations:
    """Counts of rows sent through an estimand's network. Divided by samples, the network evaluations of one sample.

    A network that runs only a part of itself in a call gives this part as an attribute ``share`` in (0, 1].
    """

    def __init__(self) -> None:
        self.rows = 0.0
        self.calls = 0


@contextmanager
def count_evaluations(estimand: nn.Module) -> Iterator[Evaluations]:
    """Count the evaluations of all networks inside an estimand by a forward hook, while the context is open."""
    count = Evaluations()

    def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        tensors = [a for a in args if isinstance(a, Tensor)]
        count.rows += tensors[0].shape[0] * getattr(module, "share", 1.0) if tensors else 0
        count.calls += 1

    nets = {net for module in estimand.modules() if isinstance(module, Estimand) for net in module.networks}
    handles = [net.register_forward_hook(hook) for net in nets if not isinstance(net, Estimand)]
    try:
        yield count
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, the earlier mode of every part after. Memory is kept for reuse.

    Only parts in training mode are set, since ``eval`` and ``train`` of a small model cost more than its network.
    """
    keep_memory()
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
