"""The examples with which samples are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from fourfold.metrics.floor import Draws

__all__ = ["References"]


@final
@dataclass(frozen=True)
class References:
    """The raw examples with which samples are compared. They depend neither on the model nor on the seed.

    Attributes:
        train: draws of ``n`` training examples for floors. With ``cond``, they have the same conditions as ``test``,
            where training examples have these.
        test: ``n`` test examples.
        cond: the conditions of ``test``, for which samples are drawn. ``None`` for unconditional models.
        fresh: validation examples, for the floor of memorisation.
        all_train: all training examples, or the whole stream of a space such as text.
    """

    train: Draws
    test: Tensor
    cond: Tensor | None
    fresh: Tensor
    all_train: Tensor
