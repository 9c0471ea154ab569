"""Measures of images and clips that need no network: the amounts of fine detail and of motion."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from fourfold.metrics.floor import Draws, floor_of
from fourfold.metrics.score import Measurement, bootstrap

__all__ = ["detail_ratio", "motion_ratio"]


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
    return _energy_ratio("detail_ratio[pixels]", lambda part: _detail(part, n_values), x, y, words, train)


def motion_ratio(
    x: Tensor, y: Tensor, *, colours: int = 1, n_values: int = 256, train: Tensor | Draws | None = None
) -> Measurement:
    """The energy of motion in sampled clips over that in references: below 1 is too still, above 1 flickers or jumps.

    Motion is the difference of a frame from the one before. Its energy is the mean square per clip.

    Args:
        x: raw samples, ``(n, frames · colours, H, W)``.
        y: raw references, ``(m, frames · colours, H, W)``.
        colours: channels of a frame.
        n_values: number of pixel values.
        train: raw training examples for the floor: several draws, or one, whose first ``n`` are used.
    """

    def energy(part: Tensor) -> Tensor:
        z = part.double() / (n_values - 1)
        return (z[:, colours:] - z[:, :-colours]).square().flatten(1).mean(1, keepdim=True)

    words = f"energy of the changes between frames, {len(x)} samples against {len(y)} references"
    return _energy_ratio("motion_ratio[pixels]", energy, x, y, words, train)


def _energy_ratio(
    name: str,
    energy: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    words: str,
    train: Tensor | Draws | None,
) -> Measurement:
    """The mean energy of samples over that of references. ``energy`` gives that of each example, ``(B, 1)``."""
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
