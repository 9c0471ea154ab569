"""Spectra of waveforms: short-time Fourier transforms, mel bands, and waveforms from magnitudes.

Waveforms are ``(B, L)``, spectra ``(B, F, T)`` with ``F = fft / 2 + 1`` frequencies and ``T = ceil(L / hop)`` frames.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["frames", "from_magnitude", "from_mel", "hop_of", "inverse", "log_mel", "mel_filters", "stft"]

QUIETEST = 1e-5
"""The magnitude that silence has in a logarithmic spectrum: -100 dB of a sine at full scale."""


def frames(length: int, hop: int) -> int:
    """The number of frames of a waveform: ``ceil(length / hop)``."""
    return -(-length // hop)


def hop_of(rate: int) -> int:
    """Samples between frames at a rate: the power of two that is nearest to 16 ms."""
    return int(2 ** round(math.log2(rate * 0.016)))


@functools.lru_cache(maxsize=32)
@torch.inference_mode(mode=False)  # what is kept may be trained through
def _window(fft: int, device: torch.device) -> Tensor:
    """Hann's window, divided by half its sum, so that a sine of amplitude 1 has the magnitude 1."""
    window = torch.hann_window(fft, device=device)
    return window * (2 / window.sum())


def stft(x: Tensor, fft: int, hop: int) -> Tensor:
    """The short-time Fourier transform of waveforms ``(B, L)``, ``(B, F, T)`` complex.

    Frame ``t`` is centred at sample ``t hop + hop / 2``. The waveform is continued by silence. A sine of amplitude 1
    has the magnitude 1 at its frequency.

    Args:
        x: waveforms, ``(B, L)``.
        fft: samples of a frame. A multiple of ``hop``.
        hop: samples between frames.
    """
    padding = (fft - hop) // 2
    right = (frames(x.shape[1], hop) - 1) * hop + fft - padding - x.shape[1]
    return torch.stft(F.pad(x, (padding, right)), fft, hop, fft, _window(fft, x.device), False, return_complex=True)


def inverse(spectrum: Tensor, hop: int, length: int) -> Tensor:
    """The waveforms ``(B, length)`` whose transforms are nearest to ``(B, F, T)`` complex spectra by least squares.

    ``x = sum_t w_t ifft(X_t) / sum_t w_t^2`` for frames ``t`` and the window ``w``. It undoes :func:`stft`.

    Reference: Griffin, Lim 1984, Signal Estimation from Modified Short-Time Fourier Transform
    (https://doi.org/10.1109/TASSP.1984.1164317).
    """
    fft, count = 2 * (spectrum.shape[1] - 1), spectrum.shape[2]
    window, padding = _window(fft, spectrum.device), (fft - hop) // 2
    segments = torch.fft.irfft(spectrum, fft, dim=1) * window[:, None]
    weight = _overlapped(window.square()[None, :, None].expand(1, fft, count), hop)
    x = _overlapped(segments, hop) / weight.clamp(min=1e-3 * float(weight.max()))
    return x[:, padding : padding + length]


def _overlapped(segments: Tensor, hop: int) -> Tensor:
    """Frames ``(B, fft, T)`` added at distances of ``hop``, which divides their length: ``(B, (T - 1) hop + fft)``."""
    batch, fft, count = segments.shape
    blocks = segments.transpose(1, 2).reshape(batch, count, fft // hop, hop)
    total = segments.new_zeros(batch, count + fft // hop - 1, hop)
    for i in range(fft // hop):
        total[:, i : i + count] += blocks[:, :, i]
    return total.flatten(1)


def from_magnitude(magnitude: Tensor, hop: int, length: int, steps: int = 32, momentum: float = 0.99) -> Tensor:
    """Waveforms ``(B, length)`` whose spectra have nearly the magnitudes ``(B, F, T)``: phases are found by iteration.

        x_n = inverse(M exp(i phase_n)),   X_n = stft(x_n),   phase_{n+1} = arg(X_n + momentum (X_n - X_{n-1}))

    Phases start from those of waves that go on from frame to frame at the centre of their band, so nothing is drawn.

    Args:
        magnitude: ``(B, F, T)``.
        hop: samples between frames.
        length: samples of a waveform.
        steps: number of iterations.
        momentum: 0 for the plain iteration of Griffin and Lim, below 1.

    Reference: Griffin, Lim 1984 (https://doi.org/10.1109/TASSP.1984.1164317); with momentum: Perraudin, Balazs,
    Soendergaard 2013, A Fast Griffin-Lim Algorithm (https://doi.org/10.1109/WASPAA.2013.6701851).
    """
    bands, count = magnitude.shape[1:]
    turn = torch.arange(bands, device=magnitude.device)[:, None] * torch.arange(count, device=magnitude.device) * hop
    phase = torch.polar(torch.ones((), device=turn.device), turn * (math.pi / (bands - 1)))
    before = torch.zeros_like(phase)
    for _ in range(steps):
        spectrum = stft(inverse(magnitude * phase, hop, length), 2 * (bands - 1), hop)
        phase = spectrum + momentum * (spectrum - before)
        phase, before = phase / phase.abs().clamp(min=1e-12), spectrum
    return inverse(magnitude * phase, hop, length)


@functools.lru_cache(maxsize=32)
@torch.inference_mode(mode=False)
def mel_filters(bands: int, fft: int, rate: int, low: float = 0.0, high: float | None = None) -> Tensor:
    """Triangular filters at equal distances on the mel scale, ``(bands, F)``: each integrates to 1 over frequencies.

    ``mel(f) = 2595 log10(1 + f / 700)``. A triangle that is narrower than the distance of two frequencies would fall
    between them, so each is averaged over the interval around every frequency.

    Args:
        bands: number of filters.
        fft: samples of a frame.
        rate: samples in a second.
        low: the lowest frequency, in Hz.
        high: the highest frequency, in Hz. By default half of the rate.

    Reference: Stevens, Volkmann, Newman 1937 (https://doi.org/10.1121/1.1915893).
    """
    top = rate / 2 if high is None else high
    ends = torch.linspace(_mel(low), _mel(top), bands + 2, dtype=torch.float64)
    edges = 700 * (10 ** (ends / 2595) - 1)
    borders = (torch.arange(fft // 2 + 2, dtype=torch.float64) - 0.5) * (rate / fft)
    left, centre, right = (edges[i : i + bands, None] for i in range(3))
    rising = _integral(borders, left, centre) / (centre - left)
    falling = (borders - centre).clamp(min=0).minimum(right - centre)
    falling = falling - falling.square() / (2 * (right - centre))
    area = (rising + falling).diff(dim=1)
    return (area / area.sum(1, keepdim=True)).float()


def _mel(frequency: float) -> float:
    return 2595 * math.log10(1 + frequency / 700)


def _integral(f: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """The integral of ``f' - left`` up to ``f``, from ``left`` to at most ``right``."""
    return (f.minimum(right) - left).clamp(min=0).square() / 2


def log_mel(x: Tensor, bands: int, fft: int, hop: int, rate: int) -> Tensor:
    """The logarithm of the power in mel bands of waveforms ``(B, L)``: ``(B, bands, T)``, in nats.

    ``log max(sum_f filter(f) |X(f)|^2, QUIETEST^2)``.
    """
    power = stft(x, fft, hop).abs().square()
    return (mel_filters(bands, fft, rate).to(x.device) @ power).clamp(min=QUIETEST**2).log()


def from_mel(bands: Tensor, fft: int, rate: int, steps: int = 20) -> Tensor:
    """Magnitudes ``(B, F, T)`` whose power in mel bands comes near ``bands``, ``(B, bands, T)`` in nats.

    Power at each frequency is found by multiplicative steps that keep it positive (Lee, Seung 2001,
    https://papers.nips.cc/paper/1861). The range of ``bands`` is that of :func:`log_mel` for sounds in [-1, 1]: more is
    clamped, and power of :data:`QUIETEST` or less is none, so that silence stays silent.
    """
    target = (bands.clamp(max=0.0).exp() - QUIETEST**2).clamp(min=0)
    filters = mel_filters(bands.shape[1], fft, rate).to(bands.device)
    power = (filters.T @ target) / filters.sum(0)[:, None].clamp(min=1e-9)
    for _ in range(steps):
        power = power * (filters.T @ target) / (filters.T @ (filters @ power)).clamp(min=1e-20)
    return power.clamp(min=0).sqrt()
