"""Texts as networks read them."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor

from fourfold.core import Reading, States
from fourfold.nn.reading.registry import reading
from fourfold.nn.text_encoder import ByteEncoder, TextEncoder, text_encoder
from fourfold.spaces import Lines, Text

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
        self.encoder, self.end, self.states = encoder, end, encoder.states

    def _padded(self, cond: Tensor) -> Tensor:
        """Ids with -1 behind the end of a text."""
        return torch.where(cond == self.end, -1, cond).clamp(min=-1)

    def features(self, cond: Tensor) -> Tensor:
        return self.encoder(self._padded(cond))

    def steps(self, cond: Tensor) -> tuple[Tensor, States]:
        return self.encoder.steps(self._padded(cond))


@reading.register
def _(given: Lines, attends: bool = False) -> TextReading:
    """Bytes that a network attends to are read one by one: the frozen encoder knows a sentence as a whole alone."""
    length, bytewise = given.text.length, given.text.token == "byte" and not attends
    return TextReading(text_encoder(length) if bytewise else ByteEncoder(length, tokens=given.tokens), given.end)


@reading.register
def _(given: Text, attends: bool = False) -> TextReading:
    return TextReading(ByteEncoder(given.length, tokens=given.tokens), given.tokens)
