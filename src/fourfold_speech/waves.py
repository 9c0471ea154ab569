"""Networks between waveforms and maps of codes, which work on frames of a spectrum, and critics of sound.

Waveforms are ``(B, 1, L)`` and codes ``(B, C, T, 1)`` with ``T = ceil(L / hop)``: one vector for each frame. All layers
work on frames, not on samples, and the transform between the two has no parameters, so that the cost is small (Siuzdak
2023, Vocos, https://arxiv.org/abs/2306.00814).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part
from fourfold.nn.autoencoder import PatchCritic
from fourfold_speech.spectra import frames, from_magnitude, from_mel, inverse, stft

__all__ = ["SpectralCritic", "WaveCritic", "WaveDecoder", "WaveEncoder", "WaveVocoder", "compressed"]

QUIET = 1e-3
"""The magnitude from which on spectra are compressed: ``log(1 + |X| / QUIET)``."""


def compressed(spectrum: Tensor) -> Tensor:
    """``log(1 + |X| / QUIET)``, which is 0 for silence. Its derivative is bounded."""
    power = torch.view_as_real(spectrum).square().sum(-1)
    return torch.log1p((power + 1e-12).sqrt() / QUIET)


@final
class FrameBlock(nn.Module):
    """``h + W_2 silu(conv(norm(h)))`` over frames, ``(B, width, T)``. The identity at the start."""

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
    """Waveforms ``(B, 1, L)`` to maps ``(B, outputs, T, 1)``, float32. Labels are ignored.

    It sees the compressed magnitudes of a frame and the cosines and sines of its phases.

    Args:
        outputs: channels of the map.
        width: channels of the layers.
        depth: number of blocks.
        hop: samples between frames. A frame has four times as many.
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
        features = torch.cat([compressed(spectrum) / 4, *direction], 1)
        h = self.blocks(self.stem(features.to(self.stem.weight.dtype)))
        exited: Tensor = self.exit(F.layer_norm(h.transpose(1, 2), (h.shape[1],)).transpose(1, 2))
        return exited.float().unsqueeze(-1)


@final
class WaveDecoder(Part, nn.Module):
    """Maps ``(B, inputs, T, 1)`` to values ``(B, 3, L)`` of one logistic for each sample, float32. Labels are ignored.

    Locations are the waveform of the spectrum that the network gives. Each frame also has one scale, between frames on
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
        hop: samples between frames of the finest spectrum. The others have 2 and 4 times as many.
    """

    def __init__(self, length: int, width: int, hop: int) -> None:
        super().__init__()
        self.hops = (hop, 2 * hop, 4 * hop)
        self.patches = PatchCritic((1, 4 * hop + 1, frames(length, 2 * hop)), width)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The critic's numbers, ``(B, h, w)`` float32, and the features."""
        spectra = [compressed(stft(x[:, 0].float(), 4 * hop, hop)) for hop in self.hops]
        numbers, features = self.patches(spectra[1][:, None] / 4)
        return numbers, [*spectra, *features]


CENTRE, SPREAD = -12.0, 5.0
"""About the mean and the standard deviation of the power in mel bands of speech, in nats."""


@final
class WaveVocoder(Part, nn.Module):
    """Standardised power in mel bands ``(B, bands, T)`` to waveforms ``(B, 1, T hop)``, float32. Labels are ignored.

    Iterations of Griffin and Lim give a waveform with the spectrum ``X``. The network sees the bands, ``X`` and
    the magnitudes ``M`` of the bands, and corrects them. The waveform is the inverse transform of

        M (exp(a) X / |X| + b),   a real and b complex, both (B, F, T) and nearly 0 at the start.

    ``M`` is at least a thousandth of its frame's mean, so that every spectrum is in reach, and silence stays silent.
    Training begins at the quality of those iterations: phases that fit each other over frames need no learning, and
    a network that sees neighbouring frames alone could not find them. Layers and inverse transform: Siuzdak 2023, Vocos
    (https://arxiv.org/abs/2306.00814); networks that correct Griffin and Lim's iterations: Masuyama et al. 2019, Deep
    Griffin-Lim Iteration (https://arxiv.org/abs/1903.03971).

    Args:
        bands: number of mel bands.
        rate: samples in a second.
        hop: samples between frames. A frame has four times as many.
        width: channels of the layers.
        depth: number of blocks.
        steps: iterations of Griffin and Lim.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("entry", "exit")

    def __init__(self, bands: int, rate: int, hop: int, width: int, depth: int, steps: int = 16) -> None:
        super().__init__()
        self.rate, self.hop, self.steps, self.frequencies = rate, hop, steps, 2 * hop + 1
        self.entry = nn.Conv1d(bands + 4 * self.frequencies, width, 3, padding=1)
        self.blocks = nn.Sequential(*(FrameBlock(width) for _ in range(depth)))
        self.exit = nn.Conv1d(width, 3 * self.frequencies, 1)
        nn.init.normal_(self.exit.weight, std=0.01 / math.sqrt(width))
        self.exit.bias = nn.Parameter(torch.zeros(3 * self.frequencies))

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        magnitude, spectrum = self._initial(z)
        direction = spectrum / spectrum.abs().clamp(min=1e-12)
        sides = torch.view_as_real(direction).unbind(-1)
        loud = torch.log1p(magnitude / QUIET)
        features = torch.cat([z, loud / 4, compressed(spectrum) / 4, *sides], 1)
        h = self.blocks(self.entry(features.to(self.entry.weight.dtype)))
        out = self.exit(F.layer_norm(h.transpose(1, 2), (h.shape[1],)).transpose(1, 2)).float()
        a, real, imaginary = out.split(self.frequencies, 1)
        corrected = magnitude * (a.clamp(max=3.0).exp() * direction + torch.complex(real, imaginary))
        return inverse(corrected, self.hop, self.hop * z.shape[2]).unsqueeze(1)

    @torch.no_grad()
    def _initial(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Magnitudes of the bands, and the spectrum of the waveform that the iterations find for them."""
        fft = 4 * self.hop
        magnitude = from_mel(z.float() * SPREAD + CENTRE, fft, self.rate)
        magnitude = magnitude.maximum(1e-3 * magnitude.mean(1, keepdim=True))
        wave = from_magnitude(magnitude, self.hop, self.hop * z.shape[2], self.steps)
        return magnitude, stft(wave, fft, self.hop)


@final
class _PeriodCritic(nn.Module):
    """Numbers and features of every ``period``-th sample: layers see each of the ``period`` series alone."""

    def __init__(self, period: int, width: int) -> None:
        super().__init__()
        self.period, widths = period, (1, width, 2 * width, 4 * width)
        self.layers = nn.ModuleList(nn.Conv1d(a, b, 5, 3, 2) for a, b in pairwise(widths))
        self.head = nn.Conv1d(widths[-1], 1, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        padded = F.pad(x, (0, -x.shape[2] % self.period))
        series = padded.reshape(len(x), -1, self.period).transpose(1, 2)
        h, features = series.reshape(len(x) * self.period, 1, -1), []
        h = h.to(self.head.weight.dtype)
        for layer in self.layers:
            h = F.leaky_relu(layer(h), 0.1)
            features.append(h.reshape(len(x), -1))
        return self.head(h).reshape(len(x), -1).float(), features


@final
class WaveCritic(Part, nn.Module):
    """Critics of several periods and of spectra at three resolutions: numbers and features of each.

    Kong, Kim, Bae 2020, HiFi-GAN (https://arxiv.org/abs/2010.05646), for the periods; Jang, Lim, Yoon, Kim, Kim 2021,
    UnivNet (https://arxiv.org/abs/2106.07889), for the resolutions.

    Args:
        length: samples of a waveform.
        width: channels of the first layers.
        hop: samples between frames of the coarsest spectrum. The others have a half and a quarter of it.
        periods: distances between the samples that one critic sees.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("periods",)

    def __init__(self, length: int, width: int, hop: int, periods: tuple[int, ...] = (2, 3, 5, 7, 11)) -> None:
        super().__init__()
        self.hops = tuple(max(hop // k, 1) for k in (1, 2, 4))
        self.periods = nn.ModuleList(_PeriodCritic(period, width) for period in periods)
        self.patches = nn.ModuleList(PatchCritic((1, 2 * h + 1, frames(length, h)), width) for h in self.hops)

    def forward(self, x: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
        """The numbers ``(B, *)`` float32 and the features ``(B, *)`` of each critic."""
        spectra = [compressed(stft(x[:, 0].float(), 4 * h, h))[:, None] / 4 for h in self.hops]
        patches = [critic(spectrum) for critic, spectrum in zip(self.patches, spectra, strict=True)]
        return [*(critic(x) for critic in self.periods), *patches]
