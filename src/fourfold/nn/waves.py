"""Networks between waveforms and maps of codes, which work on frames of a spectrum, and a critic of spectra.

Waveforms are ``(B, 1, L)`` and codes ``(B, C, T, 1)`` with ``T = ceil(L / hop)``: one vector for each frame. All layers
work on frames, not on samples, and the transform between the two has no parameters, so that the cost is small (Siuzdak
2023, Vocos, https://arxiv.org/abs/2306.00814).
"""

from __future__ import annotations

import math
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part
from fourfold.nn.autoencoder import PatchCritic
from fourfold.spectra import frames, inverse, stft

__all__ = ["SpectralCritic", "WaveDecoder", "WaveEncoder"]

QUIET = 1e-3
"""The magnitude from which on spectra are compressed: ``log(1 + |X| / QUIET)``."""


def _compressed(spectrum: Tensor) -> Tensor:
    """``log(1 + |X| / QUIET)``, which is 0 for silence; its derivative is bounded."""
    power = torch.view_as_real(spectrum).square().sum(-1)
    return torch.log1p((power + 1e-12).sqrt() / QUIET)


@final
class FrameBlock(nn.Module):
    """``h + W_2 silu(conv(norm(h)))`` over frames, ``(B, width, T)``; the identity at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, 2 * width, 5, padding=2)
        self.out = nn.Conv1d(2 * width, width, 1, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, h: Tensor) -> Tensor:
        normed = F.layer_norm(h.transpose(1, 2), (h.shape[1],)).transpose(1, 2)
        return h + self.out(F.silu(self.conv(normed)))


@final
class WaveEncoder(Part, nn.Module):
    """Waveforms ``(B, 1, L)`` to maps ``(B, outputs, T, 1)``, float32; labels are ignored.

    It sees the compressed magnitudes of a frame and the cosines and sines of its phases.

    Args:
        outputs: channels of the map.
        width: channels of the layers.
        depth: number of blocks.
        hop: samples between frames; a frame has four times as many.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("stem", "exit")

    def __init__(self, outputs: int, width: int, depth: int, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.stem = nn.Conv1d(3 * (2 * hop + 1), width, 3, padding=1)
        self.blocks = nn.Sequential(*(FrameBlock(width) for _ in range(depth)))
        self.exit = nn.Conv1d(width, outputs, 1)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        spectrum = stft(x[:, 0].float(), 4 * self.hop, self.hop)
        direction = torch.view_as_real(spectrum / (spectrum.abs() + QUIET)).unbind(-1)
        seen = torch.cat([_compressed(spectrum) / 4, *direction], 1)
        h = self.blocks(self.stem(seen.to(self.stem.weight.dtype)))
        exited: Tensor = self.exit(F.layer_norm(h.transpose(1, 2), (h.shape[1],)).transpose(1, 2))
        return exited.float().unsqueeze(-1)


@final
class WaveDecoder(Part, nn.Module):
    """Maps ``(B, inputs, T, 1)`` to values ``(B, 3, L)`` of one logistic for each sample, float32; labels are ignored.

    Locations are the waveform of the spectrum that the network gives; each frame also has one scale, between frames on
    a straight line.

    Args:
        inputs: channels of the map.
        length: samples of a waveform.
        width: channels of the layers.
        depth: number of blocks.
        hop: samples between frames.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("entry", "exit")

    def __init__(self, inputs: int, length: int, width: int, depth: int, hop: int) -> None:
        super().__init__()
        self.length, self.hop, self.bands = length, hop, 2 * hop + 1
        self.entry = nn.Conv1d(inputs, width, 3, padding=1)
        self.blocks = nn.Sequential(*(FrameBlock(width) for _ in range(depth)))
        self.exit = nn.Conv1d(width, 2 * self.bands + 1, 1)
        nn.init.normal_(self.exit.weight, std=0.1 / math.sqrt(width))

    def forward(self, u: Tensor, cond: Tensor | None = None) -> Tensor:
        h = self.blocks(self.entry(u.squeeze(-1).to(self.entry.weight.dtype)))
        out = self.exit(F.layer_norm(h.transpose(1, 2), (h.shape[1],)).transpose(1, 2)).float()
        loud, turn, raw = out.split([self.bands, self.bands, 1], 1)
        spectrum = torch.polar((loud - 5).clamp(max=1.0).exp(), turn * math.pi)
        mu = inverse(spectrum, self.hop, self.length)
        scale = F.interpolate(raw, size=self.hop * raw.shape[2], mode="linear")[:, 0, : self.length]
        return torch.stack([torch.zeros_like(mu), mu, scale - 3], 1)


@final
class SpectralCritic(Part, nn.Module):
    """One number for each patch of a spectrum, and features: compressed spectra at several resolutions, and its own.

    The distance of the first features is a spectral loss at several scales, and the numbers are those of an adversarial
    vocoder: Yamamoto, Song, Kim 2020, Parallel WaveGAN (https://arxiv.org/abs/1910.11480); Kong, Kim, Bae 2020,
    HiFi-GAN (https://arxiv.org/abs/2010.05646).

    Args:
        length: samples of a waveform.
        width: channels of the finest layer of the critic.
        hop: samples between frames of the finest spectrum; the others have 2 and 4 times as many.
    """

    def __init__(self, length: int, width: int, hop: int) -> None:
        super().__init__()
        self.hops = (hop, 2 * hop, 4 * hop)
        self.patches = PatchCritic((1, 4 * hop + 1, frames(length, 2 * hop)), width)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The critic's numbers, ``(B, h, w)`` float32, and the features."""
        spectra = [_compressed(stft(x[:, 0].float(), 4 * hop, hop)) for hop in self.hops]
        numbers, features = self.patches(spectra[1][:, None] / 4)
        return numbers, [*spectra, *features]
