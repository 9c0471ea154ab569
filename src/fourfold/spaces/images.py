"""Images of integer pixel values."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from fourfold.core import Beside, Sheet, Space, Writer, numbers_of, unknown_like
from fourfold.metrics.features import EfficientNetLite0, Features, Pixels, image_features
from fourfold.metrics.images import detail_ratio
from fourfold.metrics.measures import by_frechet
from fourfold.metrics.neighbours import memorisation_ratio
from fourfold.metrics.references import References
from fourfold.metrics.score import Measurement
from fourfold.metrics.similarity import by_similarity, diversity

__all__ = ["Images", "as_image", "grid", "montage", "prompted"]

SMALLEST = 16
"""Images with a shorter side are measured by their pixels, since a network trained on photographs does not suit them.
"""
SHOWN = 64
"""The most images in a picture."""
MOST_BYTES = 300_000
"""The most bytes of a picture. A larger one shows fewer images, so that a page can hold many pictures."""
GAP = 2
"""Number of pixels between the images of a grid in a file."""
MOST = 20_000
"""The most images that are enumerated."""


@dataclass(frozen=True)
class Images(Space):
    """Images of integer pixel values: raw batches are uint8 ``(B, channels, height, width)``, below ``n_values``.

    Attributes:
        channels, height, width: the size of one image.
        n_values: number of values that a pixel can take (256 for 8 bits, 17 for scikit-learn's digits).

    Raises:
        ValueError: for sizes below 1, ``n_values`` outside 2 .. 256.
    """

    channels: int
    height: int
    width: int
    n_values: int = 256

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or not 2 <= self.n_values <= 256:
            raise ValueError(
                f"sizes must be at least 1 and n_values from 2 to 256, got images of shape {self.shape} with "
                f"{self.n_values} values"
            )

    def __str__(self) -> str:
        kind = {1: "grey", 3: "colour"}.get(self.channels, f"{self.channels}-channel")
        return f"{kind} images of {self.height} x {self.width} pixels with {self.n_values} values"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.channels, self.height, self.width)

    @property
    def unit(self) -> str:
        return "bits/dim"

    def check(self, x: Tensor) -> None:
        self.check_shape(x)
        if x.dtype != torch.uint8:
            raise ValueError(f"images must be uint8, got {x.dtype}; give pixel values from 0 to {self.n_values - 1}")
        if self.n_values == 256 or not len(x):
            return
        over = (x.flatten(1).amax(1) >= self.n_values).nonzero()
        if len(over):
            raise ValueError(
                f"pixel values must be from 0 to {self.n_values - 1}, got a larger one in image {over[0].item()}; "
                "raise n_values or rescale it"
            )

    def conditions(self, value: Any, n: int) -> Tensor:
        """See :meth:`fourfold.core.Space.conditions`. An int16 pixel may be -1: it is unknown.

        So is a picture of such pixels alone.
        """
        x = self.arranged(numbers_of(value))
        if x.dtype != torch.int16:
            return super().conditions(x, n)
        hidden = x == -1
        cond = super().conditions(x.masked_fill(hidden, 0), n).masked_fill(hidden, -1)
        bare = (cond < 0).flatten(1).all(1).view(-1, 1, 1, 1)
        return torch.where(bare, unknown_like(cond), cond)

    def arranged(self, x: Tensor) -> Tensor:
        """Images whose channels come last, and grey ones without an axis of channels, too."""
        channels, *size = self.shape
        if x.shape[-3:] == self.shape:
            return x
        if x.shape[-3:] == (*size, channels):
            return x.movedim(-1, -3)
        return x.unsqueeze(-3) if channels == 1 and [*x.shape[-2:]] == size else x

    def examples(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randint(self.n_values, (n, *self.shape), generator=generator).to(torch.uint8)

    def support(self, points: int, reach: float) -> tuple[Tensor, float]:
        if self.n_values**self.dims > MOST:
            raise ValueError(f"images must be at most {MOST:,} to be enumerated, got {self.n_values}^{self.dims}")
        everything = torch.tensor(list(itertools.product(range(self.n_values), repeat=self.dims)))
        return everything.reshape(-1, *self.shape).to(torch.uint8), 1.0

    # --- files --------------------------------------------------------------------------------------------------------

    def writers(self) -> Mapping[str, Writer]:
        """A grid, with the prompts below their images, and a folder of PNGs, one sub-folder for each class."""
        return {".png": self._write_grid, "": self._write_folder}

    def _write_grid(self, path: Path, x: Tensor, beside: Beside) -> None:
        (prompted(x, self, beside.prompts) if beside.prompts else montage(x, self)).save(path, "PNG")

    def _write_folder(self, path: Path, x: Tensor, beside: Beside) -> None:
        """Write images and, beside them, a list of captions."""
        if path.exists() and any(path.iterdir()):
            raise ValueError(f"{path}: must be an empty folder, got one with files: choose another")
        width, lines = len(str(len(x) - 1)), []
        for i, image in enumerate(x):
            name = beside.labels[i].replace("/", "-").replace("\0", "-").strip(".") if beside.labels else ""
            place = path / name / f"{i:0{width}}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            as_image(image, self).save(place, "PNG")
            if beside.prompts:
                lines.append(f"{place.name}\t{beside.prompts[i * len(beside.prompts) // len(x)]}\n")
        if lines:
            (path / "captions.txt").write_text("".join(lines), encoding="utf-8")

    # --- measures and pictures ----------------------------------------------------------------------------------------

    @property
    def default_features(self) -> str:
        """``efficientnet-lite0`` where it is installed and images are large enough for it, else ``pixels``."""
        large = min(self.height, self.width) >= SMALLEST
        return "efficientnet-lite0" if large and EfficientNetLite0.available() else "pixels"

    def _features(self, name: str | None) -> Features:
        return image_features(name or self.default_features, self.n_values)

    def check_features(self, features: str | None) -> None:
        """Refuse an unknown feature space (``ValueError``), and one that is not installed (``ModuleNotFoundError``)."""
        self._features(features)

    def measures(self, x: Tensor, references: References, features: str | None = None) -> Iterator[Measurement]:
        yield from by_frechet(x, references, self._features(features))
        yield detail_ratio(x, references.test, n_values=self.n_values, train=references.train)
        pixels = Pixels(self.n_values)
        flat = [pixels(part) for part in (x, references.all_train, references.test, references.fresh)]
        yield memorisation_ratio(*flat[:3], features="pixels", fresh=flat[3])

    def coordinates(self, data: Tensor) -> Pixels:
        return Pixels(self.n_values)

    def conditional_measures(self, draws: Tensor, truth: Tensor, data: Tensor) -> Iterator[Measurement]:
        """The energy score of pixels, PSNR and SSIM, and the diversity of draws given one condition."""
        yield from super().conditional_measures(draws, truth, data)
        top = self.n_values - 1
        yield from by_similarity(draws.float() / top, truth.float() / top)
        pixels = Pixels(self.n_values)
        points = pixels(draws.flatten(0, 1)).reshape(*draws.shape[:2], -1)
        yield diversity(points, pixels(data), features=pixels.name)

    def picture(self, x: Tensor, references: References | None = None, columns: int | None = None) -> Sheet:
        """A grid, by default of at most six columns and rows. Images of classes are in the order of the classes."""
        if columns is not None:
            return Sheet(_png(grid(x, self, min(columns, len(x)), _gap(self))))
        columns, labels = min(6, len(x)), None if references is None else references.cond
        rows = min(math.ceil(min(len(x), SHOWN) / columns), columns)
        while True:
            images = x[: rows * columns]
            if labels is not None and labels.ndim == 1:
                images = images[labels[: len(images)].argsort(stable=True)]
            png = _png(grid(images, self, columns, _gap(self)))
            if len(png) <= MOST_BYTES or rows == 1:
                return Sheet(png)
            rows = max(rows // 2, 1)

    def nearest(self, x: Tensor, train: Tensor) -> Tensor:
        """The nearest by the Euclidean distance of pixels."""
        pixels = Pixels(self.n_values)
        return train[torch.cdist(pixels(x), pixels(train)).argmin(1)]


# --- drawing ----------------------------------------------------------------------------------------------------------


def montage(x: Tensor, space: Images, columns: int | None = None) -> Image.Image:
    """Images ``(n, C, H, W)`` as one picture, row by row. A near-square grid unless ``columns`` is given."""
    sheet = grid(x, space, columns or max(1, math.ceil(math.sqrt(len(x)))), GAP)
    white = Image.new("RGBA", sheet.size, "white")
    white.alpha_composite(sheet)
    scale = max(1, 64 // max(space.height, space.width))
    return white.convert("RGB").resize((sheet.width * scale, sheet.height * scale), Image.Resampling.NEAREST)


def grid(x: Tensor, space: Images, columns: int, gap: int) -> Image.Image:
    """Images side by side, pixel by pixel, with transparent gaps."""
    rows = math.ceil(len(x) / columns)
    height, width = space.height + gap, space.width + gap
    sheet = np.zeros((rows * height - gap, columns * width - gap, 4), dtype=np.uint8)
    pixels = _eight_bits(x, space)
    rgb = (pixels[:, :1].expand(-1, 3, -1, -1) if space.channels < 3 else pixels[:, :3]).permute(0, 2, 3, 1).numpy()
    for i, image in enumerate(rgb):
        top, left = i // columns * height, i % columns * width
        sheet[top : top + space.height, left : left + space.width, :3] = image
        sheet[top : top + space.height, left : left + space.width, 3] = 255
    return Image.fromarray(sheet, "RGBA")


def _gap(space: Images) -> int:
    """Number of pixels between the images of a page: a twelfth of their height."""
    return max(1, space.height // 12)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def as_image(x: Tensor, space: Images) -> Image.Image:
    """One image ``(C, H, W)``, pixel by pixel: grey, colour, or colour with transparency."""
    pixels = _eight_bits(x, space).permute(1, 2, 0).numpy()
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if space.channels < 3 else pixels))


def _eight_bits(x: Tensor, space: Images) -> Tensor:
    """The same images with 256 values."""
    return (x.float() * (255 / (space.n_values - 1))).round().to(torch.uint8)


def prompted(x: Tensor, space: Images, prompts: Sequence[str], columns: int | None = None) -> Image.Image:
    """A grid of the images of each prompt with the prompt below it. ``x`` holds equally many for each, in order."""
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
    """A text broken between words into lines of at most ``width``, unless a word is wider."""
    line = ""
    for word in text.split():
        if line and font.getlength(f"{line} {word}") > width:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    yield line
