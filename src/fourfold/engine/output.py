"""Raw examples as files: PNGs, NumPy arrays, tables, text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from fourfold.core import Space
from fourfold.spaces import Images, Text, Vectors

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SUFFIXES", "Labels", "as_lines", "montage", "picture", "prompted", "write_examples"]

GAP = 2
"""Pixels between the images of a grid."""


def montage(x: Tensor, space: Images, columns: int | None = None) -> Image.Image:
    """Images ``(n, C, H, W)`` as one picture, row by row; a near-square grid unless ``columns`` is given."""
    columns = columns or max(1, math.ceil(math.sqrt(len(x))))
    rows = math.ceil(len(x) / columns)
    levels = _shown(x, space)
    rgb = (levels[:, :1].expand(-1, 3, -1, -1) if space.channels < 3 else levels[:, :3]).permute(0, 2, 3, 1).numpy()
    height, width = space.height + GAP, space.width + GAP
    sheet = np.full((rows * height - GAP, columns * width - GAP, 3), 255, dtype=np.uint8)
    for i, image in enumerate(rgb):
        top, left = i // columns * height, i % columns * width
        sheet[top : top + space.height, left : left + space.width] = image
    scale = max(1, 64 // max(space.height, space.width))
    return Image.fromarray(sheet).resize((sheet.shape[1] * scale, sheet.shape[0] * scale), Image.Resampling.NEAREST)


def picture(x: Tensor, space: Images) -> Image.Image:
    """One image ``(C, H, W)``, pixel by pixel: grey, colour, or colour with transparency."""
    pixels = _shown(x, space).permute(1, 2, 0).numpy()
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if space.channels < 3 else pixels))


def _shown(x: Tensor, space: Images) -> Tensor:
    """The same images with 256 levels."""
    return (x.float() * (255 / (space.levels - 1))).round().to(torch.uint8)


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


# --- files ------------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Labels:
    """The classes of examples.

    Attributes:
        column: what a table calls them.
        values: one for each example.
    """

    column: str
    values: Sequence[str]


@final
@dataclass(frozen=True)
class _Examples:
    """Raw examples on their way to a file."""

    x: Tensor
    space: Space
    labels: Labels | None = None
    prompts: Sequence[str] = ()

    def table(self) -> pd.DataFrame:
        """One row for each example: its values under the names of their columns, then its class; or its text."""
        import pandas as pd

        if isinstance(self.space, Text):
            return pd.DataFrame({"text": [self.space.show(ids) for ids in self.x]})
        known = self.space.columns if isinstance(self.space, Vectors) else ()
        flat = self.x.flatten(1)
        table = pd.DataFrame(flat.numpy(), columns=list(known or (f"x{i}" for i in range(flat.shape[1]))))
        if self.labels is not None:
            name = self.labels.column
            table[f"{name} (class)" if name in table else name] = list(self.labels.values)
        return table


def _png(path: Path, examples: _Examples) -> None:
    x, space = examples.x, examples.space
    if not isinstance(space, Images):
        raise ValueError(f"{path}: only images become a .png: choose {_choices(space)}")
    (prompted(x, space, examples.prompts) if examples.prompts else montage(x, space)).save(path, "PNG")


def _npy(path: Path, examples: _Examples) -> None:
    with path.open("wb") as file:
        np.save(file, examples.x.numpy())


def _npz(path: Path, examples: _Examples) -> None:
    arrays: dict[str, Any] = {"x": examples.x.numpy()}
    if examples.labels is not None:
        arrays["y"] = np.array(list(examples.labels.values))
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _csv(path: Path, examples: _Examples) -> None:
    path.write_text(_as_csv(examples), encoding="utf-8")


def _as_csv(examples: _Examples) -> str:
    """A table as CSV that can be read again, and in which no name or class runs as a formula of a spreadsheet."""
    table = examples.table()
    if examples.labels is not None:
        table[table.columns[-1]] = [_inert(value) for value in examples.labels.values]
    table.columns = [_inert(name) for name in table.columns]
    written: str = table.to_csv(index=False, float_format="%.9g", lineterminator="\n")
    return written


def _inert(text: str) -> str:
    """A text that a spreadsheet would run as a formula, behind an apostrophe, which the reader takes away."""
    try:
        float(text)
    except ValueError:
        return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
    return text


def _parquet(path: Path, examples: _Examples) -> None:
    examples.table().to_parquet(path, index=False)


def _txt(path: Path, examples: _Examples) -> None:
    if not isinstance(examples.space, Text):
        raise ValueError(f"{path}: only text becomes a .txt: choose {_choices(examples.space)}")
    path.write_text(_as_text(examples.x, examples.space) + "\n", encoding="utf-8")


def _as_text(x: Tensor, space: Text) -> str:
    return "\n\n".join(space.show(ids) for ids in x)


def _folder(path: Path, examples: _Examples) -> None:
    """One PNG for each image, in a folder for each class; captions stand in a list beside them."""
    x, space = examples.x, examples.space
    if not isinstance(space, Images):
        raise ValueError(f"{path}: only images become a folder: choose {_choices(space)}")
    if path.exists() and any(path.iterdir()):
        raise ValueError(f"{path}: is a folder that is not empty: choose another")
    width, lines = len(str(len(x) - 1)), []
    for i, image in enumerate(x):
        name = (
            "" if examples.labels is None else examples.labels.values[i].replace("/", "-").replace("\0", "-").strip(".")
        )
        place = path / name / f"{i:0{width}}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        picture(image, space).save(place, "PNG")
        if examples.prompts:
            lines.append(f"{place.name}\t{examples.prompts[i * len(examples.prompts) // len(x)]}\n")
    if lines:
        (path / "captions.txt").write_text("".join(lines), encoding="utf-8")


SUFFIXES: Mapping[str, Callable[[Path, _Examples], None]] = {
    ".png": _png,
    ".npy": _npy,
    ".npz": _npz,
    ".csv": _csv,
    ".parquet": _parquet,
    ".txt": _txt,
}


def _choices(space: Space) -> str:
    """The formats that suit a space."""
    unfit = {".txt"} if not isinstance(space, Text) else set[str]()
    unfit |= {".png"} if not isinstance(space, Images) else set()
    folder = ", or a folder" if isinstance(space, Images) else ""
    return f"a name that ends in {', '.join(suffix for suffix in SUFFIXES if suffix not in unfit)}{folder}"


def write_examples(
    path: Path | str, x: Tensor, space: Space, prompts: Sequence[str] = (), labels: Labels | None = None
) -> Path:
    """Write raw examples in the format that the file's name ends in; a name without an ending is a folder of PNGs.

    A ``.png`` is a grid, with ``prompts`` below their images, of which there are equally many for each. ``.npy`` holds
    the array, ``.npz`` its labels too; ``.csv`` and ``.parquet`` have a column of labels; a folder has one for each class.

    Raises:
        ValueError: for another ending, one that does not suit the space, or a file that cannot be written.
    """
    path = Path(path)
    write = _folder if not path.suffix or path.is_dir() else SUFFIXES.get(path.suffix.lower())
    if write is None:
        raise ValueError(f"{path}: is of no kind that samples are written to: choose {_choices(space)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, _Examples(x.cpu(), space, labels, prompts))
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror or error}): choose another name") from None
    return path


def as_lines(x: Tensor, space: Space, labels: Labels | None = None) -> str:
    """Raw examples for standard output: a text as it is, anything else as CSV."""
    if isinstance(space, Text):
        return _as_text(x.cpu(), space)
    return _as_csv(_Examples(x.cpu(), space, labels)).rstrip("\n")
