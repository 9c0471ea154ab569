"""Texts as networks read them."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor

from fourfold.core import Reading
from fourfold.nn.text_encoder import TextEncoder

__all__ = ["TextReading"]


@final
class TextReading(Reading):
    """A text as one vector: of bytes by a sentence encoder, of other tokens by a small transformer.

    Args:
        encoder: maps ids ``(B, L)``, padded with -1, to vectors of order one.
        end: the id that ends a text, see :class:`~fourfold.spaces.Lines`.
    """

    gain: ClassVar[float] = 0.0

    def __init__(self, encoder: TextEncoder, end: int = 256) -> None:
        super().__init__(encoder.width)
        self.encoder, self.end = encoder, end

    def features(self, cond: Tensor) -> Tensor:
        return self.encoder(torch.where(cond == self.end, -1, cond).clamp(min=-1))
