"""Functions that depend on the type of a space, and refuse a space that they do not know."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from fourfold.core import Space

if TYPE_CHECKING:
    from functools import _SingleDispatchCallable

__all__ = ["by_space"]

_T = TypeVar("_T")


def by_space(
    *spaces: type[Space], instead: str = "autoregressive, which models every kind of data"
) -> Callable[[Callable[..., _T]], _SingleDispatchCallable[_T]]:
    """Let a function dispatch on the type of its first argument (:func:`functools.singledispatch`).

    Another space registers a function of its own by ``register``. One that has none is refused with a ``TypeError``
    that names those which have one.

    Args:
        spaces: those that the function itself is for.
        instead: the recipe to take for other spaces, for the message.
    """

    def dispatching(function: Callable[..., _T]) -> _SingleDispatchCallable[_T]:
        @functools.singledispatch
        @functools.wraps(function)
        def dispatched(space: Any, *args: Any, **options: Any) -> _T:
            *others, last = (kind.__name__ for kind in dispatched.registry if kind is not object)
            names = " or ".join([*([", ".join(others)] if others else []), last])
            raise TypeError(f"data must be {names} for this recipe, got {type(space).__name__}; use {instead}")

        for kind in spaces:
            dispatched.register(kind, function)
        return dispatched

    return dispatching
