"""A time limit on the computation of a network."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from torch import nn

__all__ = ["TimeUp", "deadline"]


class TimeUp(Exception):  # noqa: N818 (what happened)
    """The time limit has passed."""


@contextlib.contextmanager
def deadline(model: nn.Module, end: float) -> Iterator[None]:
    """Raise :class:`TimeUp` at the first call of any part of the model after ``end``, while the context is open.

    Args:
        model: the model. Hooks watch its modules, and nothing else of it changes.
        end: a time of :func:`time.perf_counter`.

    Raises:
        TimeUp: at the first call after the end.
    """

    def check(module: nn.Module, args: tuple[Any, ...]) -> None:
        if time.perf_counter() > end:
            raise TimeUp

    handles = [module.register_forward_pre_hook(check) for module in model.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
