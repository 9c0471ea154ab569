"""The codec of text."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from fourfold.core import Codec, Measure, Noise
from fourfold.spaces import Text

__all__ = ["TextTokens"]


@final
class TextTokens(Codec):
    """Text ids as they are."""

    measure = Measure.COUNTING

    def __init__(self, space: Text) -> None:
        super().__init__()
        self.space, self.event = space, space.shape

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        return x.long(), torch.zeros(len(x), device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        return z
