"""Measures of images that need no network, such as the amount of fine detail."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from fourfold.metrics.floor import Draws, floor_of
from fourfold.metrics.score import Measurement, bootstrap

__all__ = ["detail_ratio", "energy_ratio"]


def detail_ratio(x: Tensor, y: Tensor, *, n_values: int = 256, train: Tensor | Draws | None = None) -> Measurement:
    """The energy of fine detail in samples over that in references: below 1 is blur, above 1 residual noise.

    Detail is the difference of an image from its 3 x 3 box blur. Its energy is the mean square per image.

    Args:
        x: raw samples, ``(n, C, H, W)``.
        y: raw references, ``(m, C, H, W)``.
        n_values: number of pixel values.
        train: raw training examples for the floor: several draws, or one, whose first ``n`` are used.
    """
    words = f"energy outside of a 3 x 3 box blur, {len(x)} samples against {len(y)} references"
    return energy_ratio("detail_ratio[pixels]", lambda part: _detail(part, n_values), x, y, words, train)


def energy_ratio(
    name: str,
    energy: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    words: str,
    train: Tensor | Draws | None,
) -> Measurement:
    """The mean energy of samples over that of references.

    Args:
        name: of the measure.
        energy: gives that of each example, ``(B, 1)``.
        x: raw samples.
        y: raw references.
        words: the protocol.
        train: raw training examples for the floor: several draws, or one, whose first ``n`` are used.
    """
    reference = energy(y).mean().clamp(min=1e-12)
    value, low, high = bootstrap(lambda means: means[:, 0], energy(x) / reference)
    floor = floor_of(train, len(x), lambda base: (energy(base).mean() / reference).item())
    words += "; interval over samples: bootstrap"
    return Measurement(name, value, low, high, n=len(x), protocol=words).beside(floor)


def _detail(x: Tensor, n_values: int) -> Tensor:
    """Mean square of each image minus its blur, ``(B, 1)`` float64."""
    z = x.double() / (n_values - 1)
    blurred = functional.avg_pool2d(functional.pad(z, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return (z - blurred).square().flatten(1).mean(1, keepdim=True)
