"""The examples that samples are judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from fourfold.metrics.floor import Draws

__all__ = ["References"]


@final
@dataclass(frozen=True)
class References:
    """The raw examples a model is judged by: the same ones whatever the model and the seed.

    Attributes:
        train: draws of ``n`` training examples, for floors; with ``cond``, of the same labels as ``test``.
        test: ``n`` test examples.
        cond: the labels or captions of ``test``, which samples are drawn for; ``None`` where unconditional.
        fresh: validation examples, the floor of memorisation.
        all_train: all training examples; of a stream, such as a text, the stream.
    """

    train: Draws
    test: Tensor
    cond: Tensor | None
    fresh: Tensor
    all_train: Tensor
