"""Video: short clips of small frames. A clip is an image whose planes are its frames, one after the other."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor
from torch.nn import functional

from fourfold.core import Beside, Sheet, Space, Writer
from fourfold.metrics.features import Features, Pixels
from fourfold.metrics.frechet import frechet_distance
from fourfold.metrics.images import detail_ratio
from fourfold.metrics.measures import by_neighbours
from fourfold.metrics.neighbours import memorisation_ratio
from fourfold.metrics.references import References
from fourfold.metrics.score import Measurement
from fourfold.spaces.images import GAP, MOST_BYTES, Images, as_image, grid
from fourfold_video.metrics import motion_ratio

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Video"]

CELLS = 4
"""Height and width that frames are averaged to before clips are compared as wholes."""
MILLISECONDS = 100
"""How long a frame is shown."""
SHOWN = 6
"""The most columns and rows of clips in a picture."""


@dataclass(frozen=True)
class Video(Images):
    """Clips of frames: raw batches are uint8 ``(B, channels, height, width)`` with ``channels = frames · colours``.

    Frame ``t`` is ``x[:, colours · t : colours · (t + 1)]``. Networks of clips share weights among frames. A recipe
    without one takes the network of images, which mixes frames as it mixes channels.

    Attributes:
        frames: number of frames of a clip, at least 2.

    Raises:
        ValueError: for fewer frames, or channels that the frames do not divide into 1 or 3 colours.
    """

    frames: int = 2

    @classmethod
    def specimens(cls) -> Mapping[str, Sequence[Space]]:
        return {"clips": (cls(4, 16, 16, frames=4),)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames < 2 or self.channels not in (self.frames, 3 * self.frames):
            raise ValueError(
                f"clips must have at least 2 frames of 1 or 3 channels each, got "
                f"{self.channels} channels of {self.frames} frames"
            )

    def __str__(self) -> str:
        kind = {1: "grey", 3: "colour"}[self.colours]
        size = f"{self.height} x {self.width} pixels with {self.n_values} values"
        return f"{kind} clips of {self.frames} frames of {size}"

    @property
    def colours(self) -> int:
        """Channels of a frame."""
        return self.channels // self.frames

    def fits(self, other: Space) -> bool:
        """Clips of as many frames, or an array in the same layout, which is read as images of many channels."""
        if not isinstance(other, Images) or other.shape != self.shape:
            return False
        return not isinstance(other, Video) or other.frames == self.frames

    def still(self) -> Images:
        """The space of one frame."""
        return Images(self.colours, self.height, self.width, self.n_values)

    def stills(self, x: Tensor) -> Tensor:
        """The frames of clips, ``(B, frames, colours, height, width)``."""
        return x.reshape(len(x), self.frames, self.colours, self.height, self.width)

    # --- files --------------------------------------------------------------------------------------------------------

    def writers(self) -> Mapping[str, Writer]:
        """An animated grid, lossless as PNG, or as GIF, and a folder of animated PNGs, one sub-folder a class."""
        return {".png": self._write_grid, ".gif": self._write_grid, "": self._write_folder}

    def _write_grid(self, path: Path, x: Tensor, beside: Beside) -> None:
        columns = max(1, math.ceil(math.sqrt(len(x))))
        path.write_bytes(_animated(self._sheets(x, columns, GAP), path.suffix[1:].upper()))

    def _write_folder(self, path: Path, x: Tensor, beside: Beside) -> None:
        if path.exists() and any(path.iterdir()):
            raise ValueError(f"{path}: must be an empty folder, got one with files: choose another")
        width = len(str(len(x) - 1))
        for i, clip in enumerate(x):
            name = beside.labels[i].replace("/", "-").replace("\0", "-").strip(".") if beside.labels else ""
            place = path / name / f"{i:0{width}}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(_animated([as_image(frame, self.still()) for frame in self.stills(clip[None])[0]], "PNG"))

    def _sheets(self, x: Tensor, columns: int, gap: int) -> list[Image.Image]:
        """A grid of clips, frame by frame."""
        sheets = [grid(self.stills(x)[:, t], self.still(), columns, gap) for t in range(self.frames)]
        scale = max(1, 64 // max(self.height, self.width))
        return [sheet.resize((sheet.width * scale, sheet.height * scale), 0) for sheet in sheets]

    # --- measures and pictures ----------------------------------------------------------------------------------------

    @property
    def default_features(self) -> str:
        """Clips as wholes, see :class:`ClipFeatures`."""
        return ClipFeatures.name

    def check_features(self, features: str | None) -> None:
        """Refuse any other feature space (``ValueError``)."""
        if features not in (None, ClipFeatures.name):
            raise ValueError(f"features must be {ClipFeatures.name!r} for clips, got another: leave features out")

    def measures(self, x: Tensor, references: References, features: str | None = None) -> Iterator[Measurement]:
        """Whole clips first, then single frames, the amounts of detail and of motion, and memorisation."""
        self.check_features(features)
        test, train = references.test, references.train
        clips = ClipFeatures(self)
        a, b, base = clips(x), clips(test), train.features(clips(train.pool))
        yield frechet_distance(a, b, features=clips.name, train=base, protocol=clips.protocol)
        yield from by_neighbours(a, b, base, clips.name)
        frame = FrameFeatures(self)
        yield frechet_distance(
            frame(x), frame(test), features=frame.name, train=train.features(frame(train.pool)), protocol=frame.protocol
        )
        yield detail_ratio(x, test, n_values=self.n_values, train=train)
        yield motion_ratio(x, test, colours=self.colours, n_values=self.n_values, train=train)
        flat = [Pixels(self.n_values)(part) for part in (x, references.all_train, test, references.fresh)]
        yield memorisation_ratio(*flat[:3], features="pixels", fresh=flat[3])

    def picture(self, x: Tensor, references: References | None = None, columns: int | None = None) -> Sheet:
        """An animated grid, by default of at most six columns and rows."""
        columns = min(columns or SHOWN, len(x))
        rows = max(min(math.ceil(len(x) / columns), SHOWN), 1)
        while True:
            png = _animated(self._sheets(x[: rows * columns], columns, max(1, self.height // 12)), "PNG")
            if len(png) <= MOST_BYTES or rows == 1:
                return Sheet(png)
            rows = max(rows // 2, 1)


@final
class ClipFeatures(Features):
    """Every frame averaged to at most 4 x 4 cells in [0, 1], frame after frame, ``(N, channels · 16)``."""

    name = "clips"
    protocol = f"frames averaged to {CELLS} x {CELLS} cells in [0, 1], all frames as one vector"

    def __init__(self, space: Video) -> None:
        self.space = space

    def __call__(self, x: Tensor) -> Tensor:
        size = (min(self.space.height, CELLS), min(self.space.width, CELLS))
        parts = [functional.adaptive_avg_pool2d(part.float(), size).flatten(1) for part in torch.split(x, 1024)]
        return torch.cat(parts) / (self.space.n_values - 1)


@final
class FrameFeatures(Features):
    """One frame of each clip: that of clip ``i`` is frame ``i`` modulo their number. Pixels in [0, 1]."""

    name = "frames"
    protocol = "one frame of each clip, the first of the first and so on; pixels in [0, 1]"

    def __init__(self, space: Video) -> None:
        self.space = space

    def __call__(self, x: Tensor) -> Tensor:
        clips = torch.arange(len(x))
        return Pixels(self.space.n_values)(self.space.stills(x)[clips, clips % self.space.frames])


def _animated(frames: Sequence[Image.Image], form: str) -> bytes:
    """Pictures as one animation that begins again at its end."""
    buffer = io.BytesIO()
    images = [frame.convert("RGB") for frame in frames] if form == "GIF" else frames
    images[0].save(buffer, form, save_all=True, append_images=images[1:], duration=MILLISECONDS, loop=0)
    return buffer.getvalue()
