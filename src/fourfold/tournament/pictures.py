"""Raw examples as what a page can show: PNG grids, clouds of points, excerpts of text."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fourfold.spaces import Images

__all__ = ["Plane", "grid", "pairs"]

MOST_BYTES = 300_000


def grid(x: Tensor, space: Images, columns: int = 6) -> str:
    """The first images of a batch as the data URI of one PNG, ``columns`` wide and no higher than wide.

    Rows are left out until the file is small enough to put many of them into one page.
    """
    rows = min(math.ceil(len(x) / columns), columns)
    while True:
        data = _png(_montage(x[: rows * columns], space, min(columns, len(x))))
        if len(data) <= MOST_BYTES or rows == 1:
            return _uri(data)
        rows = max(rows // 2, 1)


def pairs(upper: Tensor, lower: Tensor, space: Images) -> str:
    """Two rows of images, one under the other, as a data URI."""
    n = min(len(upper), len(lower))
    return _uri(_png(_montage(torch.cat([upper[:n], lower[:n]]), space, n)))


def _montage(x: Tensor, space: Images, columns: int) -> np.ndarray:
    """Images side by side, ``(H, W, 3)`` uint8, with a gap of a twelfth of their height."""
    rows, gap = math.ceil(len(x) / columns), max(1, space.height // 12)
    height, width = space.height + gap, space.width + gap
    sheet = np.full((rows * height - gap, columns * width - gap, 4), 0, dtype=np.uint8)
    scaled = (x.float() * (255 / (space.levels - 1))).round().to(torch.uint8)
    rgb = scaled.expand(-1, 3, -1, -1) if scaled.shape[1] == 1 else scaled[:, :3]
    for i, image in enumerate(rgb.permute(0, 2, 3, 1).numpy()):
        top, left = i // columns * height, i % columns * width
        sheet[top : top + space.height, left : left + space.width, :3] = image
        sheet[top : top + space.height, left : left + space.width, 3] = 255
    return sheet


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels, "RGBA")
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


class Plane:
    """A plane to show vectors in: the columns themselves where there are two, else two principal components of the data."""

    def __init__(self, x: Tensor, names: tuple[str, ...] = ()) -> None:
        x = x.double()
        self.mean, self.scale = x.mean(0), x.std(0).clamp(min=1e-12)
        if x.shape[1] == 2:
            self.axes = torch.eye(2).double() * self.scale
            self.names = (names[0], names[1]) if names else ("column 0", "column 1")
            self.shift = self.mean
        else:
            z = (x - self.mean) / self.scale
            self.axes = torch.linalg.eigh(torch.cov(z.T).reshape(x.shape[1], -1))[1][:, -2:].flip(1)
            self.axes = torch.cat([self.axes, torch.zeros(len(self.axes), 2 - self.axes.shape[1])], 1)
            self.names = ("first principal component", "second principal component" if x.shape[1] > 1 else "")
            self.shift = torch.zeros(2).double()
        flat = self(x)
        pad = 0.06 * (flat.amax(0) - flat.amin(0)).clamp(min=1e-9)
        low, high = flat.amin(0) - pad, flat.amax(0) + pad
        self.box = (low[0].item(), high[0].item(), low[1].item(), high[1].item())

    def __call__(self, x: Tensor) -> Tensor:
        """Coordinates ``(n, 2)``."""
        return ((x.double() - self.mean) / self.scale) @ self.axes + self.shift

    def points(self, x: Tensor, most: int = 800) -> list[list[float]]:
        """The first rows as lists."""
        rows: list[list[float]] = self(x[:most]).tolist()
        return rows
