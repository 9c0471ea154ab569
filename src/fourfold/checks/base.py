"""The failure of a check, and examples for checks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor

from fourfold.core import GenerativeModel

__all__ = ["CheckFailed", "raw_examples", "refuses", "require", "some_label"]


class CheckFailed(AssertionError):  # noqa: N818 (a failed check is what it is)
    """A promise of the library does not hold for what was checked."""


def require(holds: bool, message: str) -> None:
    """Fail with a message unless something holds."""
    if not holds:
        raise CheckFailed(message)


def raw_examples(model: GenerativeModel, n: int = 16, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    """Random raw examples of a model's space, with labels, captions or sounds where it has them."""
    generator, space = torch.Generator().manual_seed(seed), model.space
    x = space.examples(n, generator)
    if space.caption is not None:
        return x, _random_captions(n, space.caption, generator)
    if space.sound is not None:
        return x, _random_sounds(n, space.sound, generator)
    labels = None if space.classes is None else torch.randint(space.classes, (n,), generator=generator)
    return x, labels


def _random_captions(n: int, length: int, generator: torch.Generator) -> Tensor:
    """Captions of a random number of lower-case letters, ``(n, length)``, padded by -1."""
    letters = torch.randint(ord("a"), ord("z") + 1, (n, length), generator=generator)
    lengths = torch.randint(1, length + 1, (n, 1), generator=generator)
    return torch.where(torch.arange(length) < lengths, letters, -1)


def _random_sounds(n: int, length: int, generator: torch.Generator) -> Tensor:
    """Noise of a random length, ``(n, length)`` int16, padded by 0."""
    samples = (3000 * torch.randn(n, length, generator=generator)).to(torch.int16)
    lengths = torch.randint(1, length + 1, (n, 1), generator=generator)
    return torch.where(torch.arange(length) < lengths, samples, 0)


def some_label(model: GenerativeModel) -> int | str | Tensor | None:
    """A condition of the model, or ``None`` for a model without conditions."""
    if model.space.sound is not None:
        return _random_sounds(1, model.space.sound, torch.Generator().manual_seed(0))[0]
    if model.space.caption is not None:
        return "a red heart"[: model.space.caption]
    return None if model.space.classes is None else 0


def refuses(check: Callable[[Tensor], None], x: Tensor, subject: str) -> None:
    """Fail unless ``check`` raises ``ValueError`` for ``x``."""
    with suppress(ValueError):
        check(x)
        raise CheckFailed(f"{subject} was accepted")
