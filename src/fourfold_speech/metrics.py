"""Feature spaces of waveforms."""

from __future__ import annotations

import math
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.metrics.features import Features
from fourfold_speech.spectra import log_mel

__all__ = ["MelStatistics", "sound_features"]


@final
class MelStatistics(Features):
    """Means and deviations of the power in mel bands, ``(N, 160)``: spectrum and envelope, but no words.

    A clip becomes the logarithm of its power in 32 mel bands, in frames of 32 ms every 8 ms. It is cut into four parts
    of equal length. Features are the mean of each band in each part, and the standard deviation of each band over all
    frames, in units of 10 dB.

    Args:
        rate: samples in a second.
    """

    name = "mel-statistics"
    bands, parts = 32, 4

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.hop = 2 ** round(math.log2(rate * 0.008))
        self.protocol = f"log power in {self.bands} mel bands at {rate} Hz: means of 4 parts, deviations"

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        return torch.cat([self._features(part) for part in torch.split(x, 64)])

    def _features(self, x: Tensor) -> Tensor:
        mel = log_mel(x.float() / 32768, self.bands, 4 * self.hop, self.hop, self.rate) / math.log(10)
        mel = F.pad(mel, (0, max(self.parts - mel.shape[2], 0)), mode="replicate")
        means = [part.mean(2) for part in mel.tensor_split(self.parts, 2)]
        return torch.cat([*means, mel.std(2, correction=0)], 1)


def sound_features(name: str, rate: int) -> Features:
    """A feature space of waveforms by its name.

    Raises:
        ValueError: for an unknown name, listing the choices.
    """
    table: dict[str, Any] = {"mel-statistics": MelStatistics}
    if name not in table:
        raise ValueError(f"features must be one of {', '.join(table)}, got {name!r}")
    features: Features = table[name](rate)
    return features
