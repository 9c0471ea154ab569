"""A measure of clips: the amount of motion."""

from __future__ import annotations

from torch import Tensor

from fourfold.metrics.floor import Draws
from fourfold.metrics.images import energy_ratio
from fourfold.metrics.score import Measurement

__all__ = ["motion_ratio"]


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
    return energy_ratio("motion_ratio[pixels]", energy, x, y, words, train)
