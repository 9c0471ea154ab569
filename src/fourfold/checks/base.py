"""The failure of a check, and examples for checks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor

from fourfold.core import GenerativeModel, as_condition

__all__ = ["CheckFailed", "raw_examples", "refuses", "require", "some_condition"]


class CheckFailed(AssertionError):  # noqa: N818 (a failed check is what it is)
    """A promise of the library does not hold for what was checked."""


def require(holds: bool, message: str) -> None:
    """Fail with a message unless something holds."""
    if not holds:
        raise CheckFailed(message)


def raw_examples(model: GenerativeModel, n: int = 16, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    """Random raw examples of a model's space, with conditions where it has them."""
    generator, space = torch.Generator().manual_seed(seed), model.space
    x = space.examples(n, generator)
    return x, None if space.given is None else as_condition(space.given.examples(n, generator))


def some_condition(model: GenerativeModel) -> Tensor | None:
    """A condition of a model, or ``None`` for a model without conditions."""
    cond = raw_examples(model, 1)[1]
    return None if cond is None else cond[0]


def refuses(check: Callable[[Tensor], None], x: Tensor, subject: str) -> None:
    """Fail unless ``check`` raises ``ValueError`` for ``x``."""
    with suppress(ValueError):
        check(x)
        raise CheckFailed(f"{subject} was accepted")
