"""A built-in set: handwritten digits that move."""

from __future__ import annotations

import torch
from torch import Tensor

from fourfold.data.digits import read_digits
from fourfold.data.source import Source
from fourfold.settings.data import DataOptions
from fourfold.spaces import Categories
from fourfold_video.space import Video

__all__ = ["moving_digits"]

CLIPS, FRAMES, SIDE = 4000, 16, 32
"""Number of clips of :func:`moving_digits`, their frames, and the height and width of a frame."""


def moving_digits(options: DataOptions) -> Source:
    """4,000 grey clips of a moving handwritten digit: 16 frames of 32 x 32 pixels of 17 values, in ten classes.

    A digit of scikit-learn, enlarged twice, bounces off the walls. All clips of one are in one split. Positions and
    velocities are drawn with the seed: a speed of 1 to 3 pixels a frame in any direction.
    """
    rows = torch.from_numpy(read_digits())
    small = rows[:, :-1].view(-1, 8, 8)
    n, generator = options.limit or CLIPS, torch.Generator().manual_seed(options.seed)
    places = torch.randint(len(small), (n,), generator=generator)
    digits = small[places].repeat_interleave(2, 1).repeat_interleave(2, 2)
    room = SIDE - digits.shape[1]
    start = room * torch.rand(n, 2, generator=generator, dtype=torch.float64)
    angle = 2 * torch.pi * torch.rand(n, generator=generator, dtype=torch.float64)
    speed = 1 + 2 * torch.rand(n, 1, generator=generator, dtype=torch.float64)
    time = torch.arange(FRAMES, dtype=torch.float64)
    path = start[:, None] + time[:, None] * (speed * torch.stack([angle.cos(), angle.sin()], 1))[:, None]
    corner = (room - (path % (2 * room) - room).abs()).round().long()  # reflected at both walls
    x = _pasted(digits, corner)
    labels = rows[places, -1].long()
    where = f"scikit-learn, load_digits, moved with seed {options.seed}"
    space = Video(FRAMES, SIDE, SIDE, n_values=17, frames=FRAMES)
    return Source(x, space, where, labels, Categories.numbered(10), groups=places)


def _pasted(digits: Tensor, corner: Tensor) -> Tensor:
    """Pictures ``(n, s, s)`` at the corners ``(n, T, 2)`` of empty frames, ``(n, T, SIDE, SIDE)``."""
    n, frames, side = len(digits), corner.shape[1], torch.arange(digits.shape[1])
    x = torch.zeros(n, frames, SIDE, SIDE, dtype=torch.uint8)
    rows = (corner[..., 0, None] + side)[..., :, None]
    columns = (corner[..., 1, None] + side)[..., None, :]
    clip, time = torch.arange(n)[:, None, None, None], torch.arange(frames)[:, None, None]
    x[clip, time, rows, columns] = digits[:, None].expand(-1, frames, -1, -1)
    return x
