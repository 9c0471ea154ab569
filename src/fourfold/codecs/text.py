"""The codecs of text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from fourfold.core import Codec, Measure, Noise, TokenwiseCodec
from fourfold.spaces import Lines, Text
from fourfold.vocabulary import Kind

__all__ = ["LineTokens", "TextTokens"]


@final
class TextTokens(TokenwiseCodec):
    """Text ids as they are."""

    measure = Measure.COUNTING

    def __init__(self, space: Text) -> None:
        super().__init__()
        self.space, self.event = space, space.shape

    def kind_of_raw(self, kind: Kind, note: str) -> tuple[Kind, str]:
        return self.space.kind_of_text(kind, note)

    @property
    def sizes(self) -> tuple[int, ...]:  # type: ignore[override]
        return (self.space.tokens,) * self.space.length

    def tokenize(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.long(), torch.zeros(x.shape, device=x.device)

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        return x.long(), torch.zeros(len(x), device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None, restrictions: Mapping[int, Tensor] | None = None) -> Tensor:
        return z

    def log_shares(self, position: int, values: Tensor) -> Tensor:
        shares = torch.full((self.space.tokens,), -math.inf, dtype=torch.float64)
        shares[values] = 0.0
        return shares


@final
class LineTokens(Codec):
    """Ids of whole texts, unchanged. Ids that a model draws after the end do not belong to the text."""

    measure = Measure.COUNTING

    def __init__(self, space: Lines) -> None:
        super().__init__()
        self.space, self.event = space, space.shape

    def kind_of_raw(self, kind: Kind, note: str) -> tuple[Kind, str]:
        return self.space.text.kind_of_text(kind, note)

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        return x.long(), torch.zeros(len(x), device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        return z.masked_fill((z == self.space.end).cummax(1).values, self.space.end)
