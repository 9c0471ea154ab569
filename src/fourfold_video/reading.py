"""Clips in files: folders of animations, and arrays of five axes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import final

import numpy as np
import torch
from PIL import Image, ImageOps, ImageSequence
from torch import Tensor

from fourfold.data.arrays import images_of
from fourfold.data.errors import DataError, option
from fourfold.data.folders import classes_of, entries, limited, members
from fourfold.data.formats import FileFormat
from fourfold.data.images import UNREADABLE, fault, in_mode
from fourfold.data.memory import require
from fourfold.data.source import Source
from fourfold.settings.data import DataOptions
from fourfold_video.space import Video

__all__ = ["Clips"]

SUFFIX = ".gif"
_FORMATS = ("GIF", "PNG", "WEBP")


@final
class Clips(FileFormat):
    """Folders of animations, and arrays ``(N, T, H, W, C)`` or ``(N, T, C, H, W)``."""

    things, settings, axes = "clips", ("size", "channels"), 5

    def recognises(self, folder: Path) -> bool:
        """True if the first file of it, or of its first sub-folder, is a GIF, or a PNG or WebP of several frames."""
        files, folders = entries(folder)
        if not files and folders:
            files = entries(folders[0])[0]
        if not files or files[0].suffix.lower() not in (SUFFIX, ".png", ".webp"):
            return False
        try:
            with Image.open(files[0], formats=_FORMATS) as image:
                return image.format == "GIF" or getattr(image, "n_frames", 1) > 1
        except UNREADABLE:
            return files[0].suffix.lower() == SUFFIX

    def read(self, path: Path, options: DataOptions) -> Source:
        return _read_clips(path, options)

    def of_array(self, name: str, x: np.ndarray, options: DataOptions) -> tuple[Tensor, Video]:
        """uint8 clips as ``(N, T C, H, W)``."""
        n, frames = x.shape[:2]
        if frames < 2 or not n:
            raise DataError(f"{name}: clips must have at least 2 frames, got the shape {x.shape}")
        stills, space = images_of(name, x.reshape(n * frames, *x.shape[2:]), options)
        if space.channels not in (1, 3):
            raise DataError(f"{name}: frames must have 1 or 3 channels, got {space.channels} of shape {x.shape}")
        planes = frames * space.channels
        clips = stills.reshape(n, planes, space.height, space.width)
        return clips, Video(planes, space.height, space.width, space.n_values, frames=frames)


def _read_clips(folder: Path, options: DataOptions) -> Source:
    """Read all animations of a folder, in sub-folders by class or in one flat folder, into one uint8 tensor.

    Clips are cut to the shortest. Frames become the size of most clips, grey ones among coloured ones become coloured,
    and transparent pixels become white. ``Source.notes`` says so.

    Raises:
        DataError: for files that are not animations, or one that cannot be read (unless ``skip_bad``), or more than
            fits into memory.
    """
    if options.channels not in (None, 1, 3) and options.model is None:
        raise DataError(f"channels must be 1 (grey) or 3 (colour), got {options.channels}")
    files, folders = entries(folder)
    if files and folders:
        raise DataError(
            f"{folder}: must hold files or folders, got both ({files[0].name} and {folders[0].name}); keep one kind"
        )
    files = limited([path for group in folders for path in members(group)] or files, options)
    clips: dict[Path, list[Image.Image]] = {}
    bad: dict[Path, str] = {}
    room = 0
    for path in files:
        try:
            clips[path] = _frames(path)
        except UNREADABLE as error:
            bad[path] = str(error) if isinstance(error, DataError) else fault(error)
            if not options.skip_bad:
                way = f"replace or remove it, or skip it with {option('skip_bad', True)}"
                raise DataError(f"{path}: {bad[path]}: {way}") from None
        else:
            room += sum(len(frame.mode) * frame.width * frame.height for frame in clips[path])
            require(2 * room, folder, "give --limit")
    if not clips:
        raise DataError(f"{folder}: must hold animations, got {len(files)} other files; give GIFs, or animated PNGs")
    return _source(folder, clips, bad, options, by_class=bool(folders))


def _frames(path: Path) -> list[Image.Image]:
    """The frames of an animation, grey or coloured, on white."""
    with Image.open(path, formats=_FORMATS) as animation:
        if getattr(animation, "n_frames", 1) < 2:
            raise DataError("must be an animation, got one picture (pictures are .png or .jpg)")
        frames = [in_mode(frame.copy(), "RGB") for frame in ImageSequence.Iterator(animation)]
    if all(_is_grey(frame) for frame in frames):
        frames = [frame.convert("L") for frame in frames]
    return frames


def _is_grey(frame: Image.Image) -> bool:
    """True if the three colours of every pixel are one."""
    pixels = np.asarray(frame)
    return bool((pixels == pixels[..., :1]).all())


def _source(
    folder: Path, clips: dict[Path, list[Image.Image]], bad: dict[Path, str], options: DataOptions, by_class: bool
) -> Source:
    """Clips of one length, size and number of colours."""
    lengths = [len(frames) for frames in clips.values()]
    sizes = Counter((frames[0].height, frames[0].width) for frames in clips.values())
    height, width = options.size or min(sizes.items(), key=lambda item: (-item[1], item[0]))[0]
    grey = all(frames[0].mode == "L" for frames in clips.values())
    mode, colours = ("L", 1) if options.channels == 1 or (grey and options.channels is None) else ("RGB", 3)
    frames = min(lengths)
    if isinstance(options.model, Video):  # the model's own length and colours
        frames, colours = options.model.frames, options.model.colours
        mode, height, width = "L" if colours == 1 else "RGB", options.model.height, options.model.width
        if min(lengths) < frames:
            short = next(path for path, images in clips.items() if len(images) < frames)
            raise DataError(
                f"{short}: must have at least {frames} frames, as the clips of the model have, got {min(lengths)}"
            )
    x = np.empty((len(clips), frames, colours, height, width), dtype=np.uint8)
    for i, images in enumerate(clips.values()):
        for t, frame in enumerate(images[:frames]):
            fitted = frame if frame.size == (width, height) else ImageOps.fit(frame, (width, height), 3)
            pixels = np.asarray(fitted.convert(mode))
            x[i, t] = pixels[None] if colours == 1 else pixels.transpose(2, 0, 1)
    notes = []
    longer = sum(length > frames for length in lengths)
    if longer:
        notes.append(f"cut {longer:,} of {len(clips):,} clips to {frames} frames, the length of the shortest")
    resized = len(clips) - sizes[(height, width)]
    if resized and options.size is None:
        notes.append(f"resized {resized:,} of {len(clips):,} clips to {height} x {width}: see {option('size', 32)}")
    labels, given = classes_of([*clips]) if by_class else (None, None)
    return Source(
        torch.from_numpy(x.reshape(len(x), frames * colours, height, width)),
        Video(frames * colours, height, width, frames=frames),
        f"folder {folder}",
        labels,
        given,
        skipped=tuple(f"{path}: {why}" for path, why in bad.items()),
        hint="put the clips of each class into a sub-folder of its own",
        notes=tuple(notes),
        files=tuple(path.relative_to(folder).as_posix() for path in clips),
    )
