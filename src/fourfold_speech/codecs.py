"""The codec of transcripts."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from fourfold.core import Codec, Measure, Noise
from fourfold.spaces import Lines
from fourfold.vocabulary import Kind

__all__ = ["TranscriptTokens"]


@final
class TranscriptTokens(Codec):
    """Ids of whole texts as they are."""

    measure = Measure.COUNTING

    def __init__(self, space: Lines) -> None:
        super().__init__()
        self.space, self.event = space, space.shape

    def kind_of_raw(self, kind: Kind, note: str) -> tuple[Kind, str]:
        return self.space.text.kind_of_text(kind, note)

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        return x.long(), torch.zeros(len(x), device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        return z
