"""Likeness of images to a true one: PSNR, SSIM, and the diversity of draws given one condition."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from fourfold.metrics.conditional import distances_between, over_conditions
from fourfold.metrics.score import Measurement

__all__ = ["by_similarity", "diversity", "psnr", "ssim"]

WINDOW, DEVIATION = 11, 1.5
"""Size of the Gaussian window of SSIM, and its standard deviation, in pixels."""
MOST = 500
"""The most examples of the data whose distances are averaged."""
LEAST = 1e-10
"""The least mean square error, so that equal images have 100 dB."""


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """The peak signal-to-noise ratio of each pair of images ``(B, C, H, W)`` in [0, 1], in dB: ``-10 log10 MSE``."""
    return -10 * (x.double() - y.double()).square().flatten(1).mean(1).clamp(min=LEAST).log10()


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """The structural similarity of each pair of images ``(B, C, H, W)`` in [0, 1], ``(B,)`` float64.

    ``(2 μ_x μ_y + c_1) (2 σ_xy + c_2) / ((μ_x² + μ_y² + c_1) (σ_x² + σ_y² + c_2))`` with ``c_1 = 0.01²`` and ``c_2 =
    0.03²``, the mean over channels and over all places of a Gaussian window of 11 pixels that lie within the image. The
    window of a smaller image is its largest odd size.

    Reference: Wang, Bovik, Sheikh, Simoncelli 2004, Image Quality Assessment: From Error Visibility to Structural
    Similarity, https://doi.org/10.1109/TIP.2003.819861
    """
    places = torch.arange(_window(x)).double() - _window(x) // 2
    line = torch.exp(-(places**2) / (2 * DEVIATION**2))
    window = torch.outer(line, line)[None, None] / line.sum() ** 2
    size, channels = x.shape[:2]
    x, y = (z.double().flatten(0, 1)[:, None] for z in (x, y))
    parts = functional.conv2d(torch.cat([x, y, x * x, y * y, x * y]), window).chunk(5)
    mean_x, mean_y = parts[:2]
    variance_x, variance_y, covariance = parts[2] - mean_x**2, parts[3] - mean_y**2, parts[4] - mean_x * mean_y
    above = (2 * mean_x * mean_y + 0.01**2) * (2 * covariance + 0.03**2)
    below = (mean_x**2 + mean_y**2 + 0.01**2) * (variance_x + variance_y + 0.03**2)
    return (above / below).reshape(size, channels, -1).mean((1, 2))


def _window(x: Tensor) -> int:
    """The size of the window for images ``(..., H, W)``."""
    return min(WINDOW, *(side - (side + 1) % 2 for side in x.shape[-2:]))


def diversity(draws: Tensor, data: Tensor, *, features: str) -> Measurement:
    """The mean distance of draws given one condition over that of two examples of the data.

    0: each condition has one sample. 1: the condition says nothing. The data's own value is unknown, since an example
    has its condition alone: it falls the more a condition says.

    Args:
        draws: features of ``k`` draws for each of ``m`` conditions, ``(m, k, D)``.
        data: features of examples of the data, ``(N, D)``.
        features: the name of the feature space.
    """
    data = data[:MOST]
    values = distances_between(draws) / distances_between(data[None])
    words = f"mean distance of {draws.shape[1]} draws given one condition over that of {len(data)} examples"
    return over_conditions(f"diversity[{features}]", values, words, better="")


def by_similarity(draws: Tensor, truth: Tensor) -> Iterator[Measurement]:
    """PSNR and SSIM of single draws, and of the mean of all draws given one condition, against the true image.

    The mean draw has the better PSNR and is blurred. A single draw is what a user sees. Read both beside the Frechet
    distance: PSNR alone prefers blur.

    Args:
        draws: ``(m, k, C, H, W)`` in [0, 1].
        truth: ``(m, C, H, W)`` in [0, 1].
    """
    m, k = draws.shape[:2]
    every = truth.repeat_interleave(k, 0)
    window = f"Gaussian window of {_window(truth)} pixels, deviation {DEVIATION}"
    for name, measure, unit, words in (("psnr", psnr, "dB", "pixel values in [0, 1]"), ("ssim", ssim, "", window)):
        single = measure(draws.flatten(0, 1), every).reshape(m, k).mean(1)
        yield over_conditions(f"{name}[single draws]", single, f"{words}; mean of {k} draws", "higher", unit)
        mean = measure(draws.double().mean(1), truth)
        yield over_conditions(f"{name}[mean draw]", mean, f"{words}; the mean of {k} draws", "higher", unit)
