"""Raw examples as files: PNG grids, NumPy arrays, tables, text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from fourfold.core import Space
from fourfold.spaces import Images, Text, Vectors

__all__ = ["SUFFIXES", "montage", "prompted", "write_examples"]

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


def prompted(x: Tensor, space: Images, prompts: Sequence[str], columns: int | None = None) -> Image.Image:
    """A grid of the images of each prompt with the prompt below it; ``x`` holds equally many for each, in order."""
    font = ImageFont.load_default(12)
    grids = [montage(part, space, columns) for part in x.chunk(len(prompts))]
    texts = ["\n".join(_lines(prompt, font, grid.width)) for prompt, grid in zip(prompts, grids, strict=True)]
    boxes = [ImageDraw.Draw(grid).multiline_textbbox((0, 0), t, font) for grid, t in zip(grids, texts, strict=True)]
    heights = [math.ceil(box[3]) + 4 * GAP for box in boxes]
    sheet = Image.new("RGB", (grids[0].width, sum(grid.height for grid in grids) + sum(heights)), "white")
    top = 0
    for grid, text, height in zip(grids, texts, heights, strict=True):
        sheet.paste(grid, (0, top))
        ImageDraw.Draw(sheet).multiline_text((0, top + grid.height + GAP), text, "black", font)
        top += grid.height + height
    return sheet


def _lines(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> Iterator[str]:
    """A text broken between words into lines that are no wider than ``width``, where words allow it."""
    line = ""
    for word in text.split():
        if line and font.getlength(f"{line} {word}") > width:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    yield line


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


def write_examples(path: Path | str, x: Tensor, space: Space, prompts: Sequence[str] = ()) -> Path:
    """Write raw examples in the format that the file's name ends in: ``.png``, ``.npy``, ``.csv`` or ``.txt``.

    A ``.png`` shows ``prompts`` below their images, of which there are equally many for each.

    Raises:
        ValueError: for another ending, or one that does not suit the space.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: the name must end in one of {', '.join(SUFFIXES)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if prompts and path.suffix == ".png" and isinstance(space, Images):
        prompted(x.cpu(), space, prompts).save(path, "PNG")
    else:
        SUFFIXES[path.suffix](path, x.cpu(), space)
    return path
