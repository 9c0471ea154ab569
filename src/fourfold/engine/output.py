"""Raw examples as files: PNG grids, NumPy arrays, tables, text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fourfold.core import Space
from fourfold.spaces import Images, Text, Vectors

__all__ = ["SUFFIXES", "montage", "write_examples"]

GAP = 2
"""Pixels between the images of a grid."""


def montage(x: Tensor, space: Images, columns: int | None = None) -> Image.Image:
    """Images ``(n, C, H, W)`` as one picture, row by row; a near-square grid unless ``columns`` is given."""
    columns = columns or max(1, math.ceil(math.sqrt(len(x))))
    rows = math.ceil(len(x) / columns)
    levels = (x.float() * (255 / (space.levels - 1))).round().to(torch.uint8)
    rgb = (levels[:, :1].expand(-1, 3, -1, -1) if space.channels < 3 else levels[:, :3]).permute(0, 2, 3, 1).numpy()
    height, width = space.height + GAP, space.width + GAP
    sheet = np.full((rows * height - GAP, columns * width - GAP, 3), 255, dtype=np.uint8)
    for i, image in enumerate(rgb):
        top, left = i // columns * height, i % columns * width
        sheet[top : top + space.height, left : left + space.width] = image
    scale = max(1, 64 // max(space.height, space.width))
    return Image.fromarray(sheet).resize((sheet.shape[1] * scale, sheet.shape[0] * scale), Image.Resampling.NEAREST)


def _png(path: Path, x: Tensor, space: Space) -> None:
    if not isinstance(space, Images):
        raise ValueError(f"{path}: only images become a .png; write .npy, .csv or .txt")
    montage(x, space).save(path, "PNG")


def _npy(path: Path, x: Tensor, space: Space) -> None:
    with path.open("wb") as file:
        np.save(file, x.numpy())


def _csv(path: Path, x: Tensor, space: Space) -> None:
    names = space.columns if isinstance(space, Vectors) and space.columns else ()
    flat = x.flatten(1)
    header = ",".join(names or (f"x{i}" for i in range(flat.shape[1])))
    form = "%.9g" if flat.is_floating_point() else "%d"
    np.savetxt(path, flat.numpy(), fmt=form, delimiter=",", header=header, comments="")


def _txt(path: Path, x: Tensor, space: Space) -> None:
    if not isinstance(space, Text):
        raise ValueError(f"{path}: only text becomes a .txt; write .png, .npy or .csv")
    path.write_text("\n\n".join(space.show(ids) for ids in x) + "\n", encoding="utf-8")


SUFFIXES: Mapping[str, Callable[[Path, Tensor, Space], None]] = {
    ".png": _png,
    ".npy": _npy,
    ".csv": _csv,
    ".txt": _txt,
}


def write_examples(path: Path | str, x: Tensor, space: Space) -> Path:
    """Write raw examples in the format that the file's name ends in: ``.png``, ``.npy``, ``.csv`` or ``.txt``.

    Raises:
        ValueError: for another ending, or one that does not suit the space.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: the name must end in one of {', '.join(SUFFIXES)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    SUFFIXES[path.suffix](path, x.cpu(), space)
    return path
