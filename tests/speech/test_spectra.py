"""Transforms of waveforms against their definitions and against integrals."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from fourfold_speech.spectra import frames, from_magnitude, inverse, log_mel, mel_filters, stft


def tone(frequency, rate=8000, seconds=1.0, amplitude=1.0):
    t = torch.arange(round(rate * seconds), dtype=torch.float64) / rate
    return (amplitude * torch.sin(2 * math.pi * frequency * t))[None].float()


@pytest.mark.parametrize(("fft", "hop"), [(512, 128), (256, 64), (256, 128), (64, 16)])
@pytest.mark.parametrize("length", [1, 63, 128, 1000, 1001])
def test_a_transform_is_undone(fft, hop, length):
    x = torch.randn(3, length)
    spectrum = stft(x, fft, hop)
    assert spectrum.shape == (3, fft // 2 + 1, frames(length, hop))
    assert torch.allclose(inverse(spectrum, hop, length), x, atol=2e-6)


def test_a_frame_is_the_fourier_transform_of_its_window():
    x, fft, hop = torch.randn(1, 1000), 64, 16
    left = (fft - hop) // 2
    padded = np.pad(x[0].numpy().astype(np.float64), (left, fft))
    window = np.hanning(fft + 1)[:-1]
    for t in (0, 5, 40):
        frame = np.fft.rfft(padded[t * hop : t * hop + fft] * window * 2 / window.sum())
        assert np.allclose(stft(x, fft, hop)[0, :, t].numpy(), frame, atol=1e-5)


def test_a_sine_has_its_amplitude_at_its_frequency():
    spectrum = stft(tone(1000, amplitude=0.3), 512, 128)[0, :, 30].abs()
    assert spectrum.argmax() == 64
    assert float(spectrum[64]) == pytest.approx(0.3, rel=1e-3)


@pytest.mark.parametrize(("bands", "fft", "rate"), [(40, 512, 8000), (80, 512, 16000), (80, 256, 8000)])
def test_mel_filters_are_averages_of_triangles(bands, fft, rate):
    """Each weight is the integral of the triangle over the interval of its frequency, and a filter's weights sum to 1.

    With 80 bands and 256 samples, the lowest triangles are narrower than the distance of two frequencies.
    """
    filters = mel_filters(bands, fft, rate)
    assert torch.allclose(filters.sum(1), torch.ones(bands), atol=1e-6)
    ends = np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), bands + 2)
    edges, step = 700 * (10 ** (ends / 2595) - 1), rate / fft
    for i in (0, bands // 2, bands - 1):
        left, centre, right = edges[i : i + 3]

        def triangle(f, left=left, centre=centre, right=right):
            return max(min((f - left) / (centre - left), (right - f) / (right - centre)), 0.0)

        area = (right - left) / 2
        k = round(centre / step)
        points = [p for p in (left, centre, right) if (k - 0.5) * step < p < (k + 0.5) * step]
        expected = quad(triangle, (k - 0.5) * step, (k + 0.5) * step, points=points or None)[0] / area
        assert float(filters[i, k]) == pytest.approx(expected, rel=0.02)  # the top band ends within an interval


def test_log_mel_of_noise_is_its_power_and_silence_has_a_floor():
    """White noise of variance v has the power ``v sum w^2`` at every frequency, so in every band of unit integral."""
    x, fft = 0.1 * torch.randn(8, 40_000), 512
    window = torch.hann_window(fft) * 2 / torch.hann_window(fft).sum()
    expected = math.log(0.01 * float(window.square().sum()))
    mel = log_mel(x, 24, fft, 128, 8000).exp().mean((0, 2)).log()
    assert torch.allclose(mel[2:-2], torch.full((20,), expected), atol=0.1)
    assert torch.allclose(log_mel(torch.zeros(1, 500), 24, fft, 128, 8000), torch.tensor(2 * math.log(1e-5)))


def test_a_waveform_is_found_from_its_magnitudes():
    """The magnitudes of the answer come near to those that were asked for, and nearer with more iterations."""
    torch.manual_seed(0)
    x = sum(tone(f, amplitude=0.2) for f in (220, 640, 1500)) * torch.linspace(0, 1, 8000)
    wanted = stft(x, 512, 128).abs()

    def error(steps):
        magnitude = stft(from_magnitude(wanted, 128, 8000, steps), 512, 128).abs()
        return float((magnitude - wanted).norm() / wanted.norm())

    assert error(32) < 0.1
    assert error(32) < error(2)
    assert torch.equal(from_magnitude(wanted, 128, 8000, 3), from_magnitude(wanted, 128, 8000, 3))
