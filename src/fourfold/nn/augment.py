"""Augmentation of the examples that a critic sees, whose strength follows its overfitting.

Every image, of data and samples, is transformed with probability ``p`` by each of a list of differentiable, invertible
transformations. As long as ``p`` stays below about 0.8, the only equilibrium of the GAN is that samples are
distributed like the data. The strength rises while the critic's confidence in training data exceeds ``target`` and
falls otherwise (Karras, Aittala, Hellsten, Laine, Lehtinen, Aila 2020, https://arxiv.org/abs/2006.06676).
"""

from __future__ import annotations

import math
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part

__all__ = ["Augment"]


@final
class Augment(Part, nn.Module):
    """Images ``(B, C, H, W)`` in [-1, 1], transformed at random: flip, quarter turns, shift, scale, turn, colour.

    Args:
        target: the critic's confidence (between -1 and 1) to which the strength is adapted.
        images: number of images after which the strength may have risen from 0 to 1.
        flip: whether mirror images and quarter turns are among the transformations.
    """

    p: Tensor
    """The strength: probability of each transformation."""

    def __init__(self, target: float = 0.6, images: int = 100_000, flip: bool = True) -> None:
        super().__init__()
        self.target, self.images, self.flip = target, images, flip
        self.register_buffer("p", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """The images, each changed by its own random transformations."""
        if float(self.p) == 0:
            return x
        return self._coloured(self._moved(x))

    @torch.no_grad()
    def adapt(self, confidence: Tensor) -> None:
        """Move the strength by one batch's step towards the target. ``confidence`` ``(B,)`` is each example's sign."""
        step = torch.sign(confidence.float().mean() - self.target) * (len(confidence) / self.images)
        self.p.copy_((self.p + step).clamp(0.0, 0.8))

    def _moved(self, x: Tensor) -> Tensor:
        """One affine map of the plane for each image, mirrored at the borders."""
        matrix = self._plane(len(x), *x.shape[2:]).to(x.device)
        grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
        return F.grid_sample(x, grid.to(x.dtype), padding_mode="reflection", align_corners=False)

    def _plane(self, n: int, height: int, width: int) -> Tensor:
        """The maps ``(n, 2, 3)`` from output to input, in coordinates of [-1, 1]."""
        turn = self._some(n, 2 * math.pi * (torch.rand(n) - 0.5) / 4)
        grow = self._some(n, 0.2 * math.log(2) * torch.randn(n))
        stretch = self._some(n, 0.2 * math.log(2) * torch.randn(n))
        if self.flip:
            turn = turn + self._some(n, math.pi / 2 * torch.randint(4, (n,)))
        mirror = 1 - 2 * self._some(n, torch.randint(2, (n,)).float()) if self.flip else torch.ones(n)
        across, down = torch.exp(-grow - stretch) * mirror, torch.exp(-grow + stretch)
        cos, sin, aspect = turn.cos(), turn.sin(), height / width
        shift = [self._some(n, (torch.rand(n) - 0.5) / 2), self._some(n, (torch.rand(n) - 0.5) / 2)]
        rows = [cos * across, -sin * aspect * down, shift[0], sin / aspect * across, cos * down, shift[1]]
        return torch.stack(rows, 1).reshape(n, 2, 3)

    def _coloured(self, x: Tensor) -> Tensor:
        """Brightness and contrast. For three channels also a turn about the grey axis (hue) and a stretch from it."""
        n = len(x)
        x = x + self._some(n, 0.2 * torch.randn(n)).to(x)[:, None, None, None]
        x = x * torch.exp(self._some(n, 0.5 * math.log(2) * torch.randn(n))).to(x)[:, None, None, None]
        return torch.einsum("bij,bjhw->bihw", self._hues(n).to(x), x) if x.shape[1] == 3 else x

    def _hues(self, n: int) -> Tensor:
        """Maps of colours ``(n, 3, 3)``: Rodrigues' turn about (1, 1, 1), times a stretch of saturation."""
        angle = self._some(n, 2 * math.pi * (torch.rand(n) - 0.5))[:, None, None]
        amount = torch.exp(self._some(n, math.log(2) * torch.randn(n)))[:, None, None]
        grey, cross = torch.full((3, 3), 1 / 3), torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
        turned = angle.cos() * torch.eye(3) + angle.sin() * cross + (1 - angle.cos()) * grey
        return grey + amount * (turned - grey)

    def _some(self, n: int, value: Tensor) -> Tensor:
        """The value with probability ``p``, else 0, ``(n,)``."""
        return torch.where(torch.rand(n) < float(self.p), value.float(), 0.0)
