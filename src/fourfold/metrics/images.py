"""A measure of images that needs no network: the amount of fine detail."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from fourfold.metrics.floor import Draws, floor_of
from fourfold.metrics.score import Measurement, bootstrap

__all__ = ["detail_ratio"]


def detail_ratio(x: Tensor, y: Tensor, *, levels: int = 256, train: Tensor | Draws | None = None) -> Measurement:
    """The energy of fine detail in samples over that in references: below 1 is blur, above 1 residual noise.

    Detail is the difference of an image from its 3 x 3 box blur; its energy is the mean square per image.

    Args:
        x: raw samples, ``(n, C, H, W)``.
        y: raw references, ``(m, C, H, W)``.
        levels: number of levels of a pixel.
        train: raw training examples for the floor: several draws, or one, whose first ``n`` are used.
    """
    reference = _detail(y, levels).mean().clamp(min=1e-12)
    value, low, high = bootstrap(lambda means: means[:, 0], _detail(x, levels) / reference)
    floor = floor_of(train, len(x), lambda base: (_detail(base, levels).mean() / reference).item())
    words = (
        f"energy outside of a 3 x 3 box blur, {len(x)} samples against {len(y)} references; "
        "interval over samples: bootstrap"
    )
    return Measurement("detail_ratio[pixels]", value, low, high, n=len(x), protocol=words).beside(floor)


def _detail(x: Tensor, levels: int) -> Tensor:
    """Mean square of each image minus its blur, ``(B, 1)`` float64."""
    z = x.double() / (levels - 1)
    blurred = functional.avg_pool2d(functional.pad(z, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return (z - blurred).square().flatten(1).mean(1, keepdim=True)
