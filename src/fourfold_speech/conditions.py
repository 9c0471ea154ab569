"""Sounds as networks read them."""

from __future__ import annotations

import itertools
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Reading, States
from fourfold.nn.attending import positions
from fourfold.nn.reading.numbers import Standardiser
from fourfold_speech.space import FULL_SCALE
from fourfold_speech.spectra import hop_of, log_mel

__all__ = ["SoundReading"]

FITTED = 1024
"""Clips from which statistics are taken, at most."""


@final
class SoundReading(Reading):
    """The mean power in mel bands, and the mean of a small network of convolutions over frames.

    Zeros at the end of a sound are padding, and no frame of them counts.

    Args:
        rate: sampling rate in Hz.
        bands: number of mel bands.
        hidden: channels of the network.
        depth: layers, each of which keeps half of the frames.
    """

    def __init__(self, rate: int, bands: int = 40, hidden: int = 64, depth: int = 3) -> None:
        super().__init__(bands + hidden)
        self.rate, self.bands, self.hop, self.states = rate, bands, hop_of(rate), hidden
        self.standardised = Standardiser(bands)
        widths = [bands, *[hidden] * depth]
        self.layers = nn.ModuleList(nn.Conv1d(a, b, 5, 2, 2) for a, b in itertools.pairwise(widths))

    def _frames(self, cond: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms of power ``(B, T, bands)``, and which frames belong to the sound, ``(B, T)``."""
        x = log_mel(cond.float() / FULL_SCALE, self.bands, 4 * self.hop, self.hop, self.rate).mT
        place = torch.arange(1, cond.shape[1] + 1, device=cond.device)
        samples = (place * (cond != 0)).amax(1, keepdim=True).clamp(min=1)
        return x, torch.arange(x.shape[1], device=x.device) * self.hop < samples

    def fit(self, cond: Tensor) -> None:
        x, mask = self._frames(cond[:: -(-len(cond) // FITTED)])
        self.standardised.fit(x[mask])

    def features(self, cond: Tensor) -> Tensor:
        return self.steps(cond)[0]

    def steps(self, cond: Tensor) -> tuple[Tensor, States]:
        """The sequence is that of the network's frames, with their positions."""
        x, mask = self._frames(cond)
        x = self.standardised(x) * mask[..., None]
        h = x.mT.to(self.unknown.dtype)
        marks = mask[:, None].to(h.dtype)
        for layer in self.layers:
            marks = marks[..., ::2]
            h = F.silu(layer(h)) * marks
        mean = h.sum(2) / marks.sum(2)
        vector = torch.cat([x.sum(1) / mask.sum(1, keepdim=True), F.layer_norm(mean.float(), mean.shape[1:])], 1)
        h = F.layer_norm(h.mT, mean.shape[1:])
        return vector, States(h + positions(h.shape[1], h.shape[2], h), marks[:, 0] > 0)
