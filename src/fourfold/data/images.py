"""Folders of images: every sub-folder a class, or one flat folder, with or without captions."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from fourfold.data.captions import encoded, folder_captions
from fourfold.data.dataset import DataError, Options, Source
from fourfold.spaces import Images

__all__ = ["read_folder"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_FORMATS = ("PNG", "JPEG", "WEBP")
_LITTER = ("thumbs.db", "desktop.ini")
_UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    MemoryError,
    OverflowError,
    TypeError,
    KeyError,
    IndexError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_WORDS = {"L": "grey", "RGB": "colour", "RGBA": "colour with transparency"}
_CHUNK = 64
_THREADS = 2


@dataclass(frozen=True)
class _Format:
    """What every image of a folder must be, or is made into."""

    mode: str
    height: int
    width: int
    model: Path
    resize: bool
    convert: bool

    @property
    def channels(self) -> int:
        return len(self.mode)


def read_folder(folder: Path, options: Options) -> Source:
    """Read all images of a folder into one uint8 tensor; they must have one size and one number of channels.

    A flat folder may hold captions, see :func:`~fourfold.data.captions.folder_captions`. Palettes become colours; EXIF orientation is applied; of an animation the first picture counts.

    Raises:
        DataError: for an empty or mixed folder, an unreadable image (unless ``skip_bad``), mixed sizes or channels.
    """
    if options.channels not in (None, 1, 3):
        raise DataError(f"channels {options.channels}: images are converted to grey (1) or colour (3)")
    if options.size is not None and min(options.size) < 1:
        raise DataError(f"size {options.size}: give a height and a width of at least 1")
    files, skipped, captions = _files(folder, options)
    files = _limited(files, options)
    x, bad, form = _decode_all(folder, files, options)
    good = [path for path in files if path not in bad]
    skipped += [f"{path}: {reason}" for path, reason in bad.items()]
    where = f"folder {folder}" + (f", resized to {form.height} x {form.width}" if form.resize else "")
    space = Images(form.channels, form.height, form.width)
    if all(path.parent == folder for path in files):
        hint = "put the images of each class into a sub-folder of its own, or add captions (captions.txt)"
        known = encoded([captions[path] for path in good]) if captions else None
        return Source(torch.from_numpy(x), space, where, skipped=tuple(skipped), hint=hint, captions=known)
    names = sorted({path.parent.name for path in good})
    ids = {name: i for i, name in enumerate(names)}
    labels = torch.tensor([ids[path.parent.name] for path in good])
    return Source(torch.from_numpy(x), space, where, labels, tuple(names), skipped=tuple(skipped))


# --- which files ------------------------------------------------------------------------------------------------------


def _files(folder: Path, options: Options) -> tuple[list[Path], list[str], dict[Path, str]]:
    """The images in order of class and name, what else was passed over, and the captions of a flat folder."""
    files, folders = _entries(folder)
    if files and folders:
        raise DataError(
            f"{folder}: holds files ({files[0].name}) beside folders ({folders[0].name}): "
            "put all images into it, or all into sub-folders, one per class"
        )
    groups = [files] if not folders else [_members(sub) for sub in folders]
    other = [path for group in groups for path in group if path.suffix.lower() not in SUFFIXES]
    images = [path for group in groups for path in group if path.suffix.lower() in SUFFIXES]
    if not images:
        found = f", only files like {other[0].name}" if other else ""
        raise DataError(f"{folder}: holds no PNG, JPEG or WebP images{found}: give a folder of images")
    captions, told = folder_captions(images, [] if folders else other, options.skip_bad)
    other = [path for path in other if path not in told]
    if other and not options.skip_bad:
        raise DataError(f"{other[0]}: is no image among images: move it away, or skip it (skip_bad, --skip-bad)")
    bare = [path for path in images if captions and path not in captions]
    skipped = [f"{path}: is no image" for path in other] + [f"{path}: has no caption" for path in bare]
    return [path for path in images if path not in bare], skipped, captions


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files and folders in a folder, sorted, without hidden ones and litter."""
    try:
        entries = sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.name.lower() not in _LITTER)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}): check its permissions") from None
    return [p for p in entries if not p.is_dir()], [p for p in entries if p.is_dir()]


def _members(folder: Path) -> list[Path]:
    """The files of one class."""
    files, folders = _entries(folder)
    if folders:
        raise DataError(f"{folders[0]}: is a folder within a class: put the images directly into {folder}")
    if not files:
        raise DataError(f"{folder}: is an empty class: remove the folder, or put its images there")
    return files


def _limited(files: list[Path], options: Options) -> list[Path]:
    """A seeded choice of files in their order, so that only those are decoded."""
    if options.limit is None or options.limit >= len(files):
        return files
    generator = torch.Generator().manual_seed(options.seed)
    chosen = torch.randperm(len(files), generator=generator)[: options.limit].sort().values
    return [files[i] for i in chosen.tolist()]


# --- decoding ---------------------------------------------------------------------------------------------------------


def _decode_all(folder: Path, files: list[Path], options: Options) -> tuple[np.ndarray, dict[Path, str], _Format]:
    """Decode into one preallocated array, a bounded number of images at a time; return what could not be read too."""
    form = _format(folder, files, options)
    shape = (len(files), form.channels, form.height, form.width)
    try:
        x = np.empty(shape, dtype=np.uint8)
    except MemoryError:
        raise DataError(f"{folder}: {shape} bytes do not fit into memory: give a size or a limit") from None
    bad: dict[Path, str] = {}
    with ThreadPoolExecutor(_THREADS) as threads:
        for i, reason in _stream(threads, files, x, form):
            if not options.skip_bad:
                threads.shutdown(cancel_futures=True)
                raise DataError(f"{files[i]}: {reason}: replace or remove it, or skip it (skip_bad, --skip-bad)")
            bad[files[i]] = reason
    keep = [path not in bad for path in files]
    return (x[keep] if bad else x), bad, form


def _stream(threads: ThreadPoolExecutor, files: list[Path], x: np.ndarray, form: _Format) -> Iterator[tuple[int, str]]:
    """Decode chunk after chunk on the threads; yield position and reason of every unreadable image."""

    def work(start: int) -> list[tuple[int, str]]:
        return list(_decode_chunk(range(start, min(start + _CHUNK, len(files))), files, x, form))

    for faults in threads.map(work, range(0, len(files), _CHUNK)):
        yield from faults


def _decode_chunk(rows: Iterable[int], files: list[Path], x: np.ndarray, form: _Format) -> Iterator[tuple[int, str]]:
    for i in rows:
        try:
            x[i] = _decode(files[i], form)
        except DataError:
            raise
        except _UNREADABLE as error:
            yield i, _reason(error)


def _reason(error: BaseException) -> str:
    if "cannot identify" in str(error):
        return "cannot be read as PNG, JPEG or WebP"
    return f"cannot be read ({' '.join(str(error).split())[:100] or type(error).__name__})"


def _decode(path: Path, form: _Format) -> np.ndarray:
    """One image as ``(C, H, W)``.

    Raises:
        DataError: if its size or its channels differ from the others'.
    """
    with Image.open(path, formats=_FORMATS) as opened:
        if form.resize:
            opened.draft(None, (form.width, form.height))
        image = ImageOps.exif_transpose(opened)
        image = _converted(path, image, form)
        if form.resize and image.size != (form.width, form.height):
            image = ImageOps.fit(image, (form.width, form.height), Image.Resampling.BICUBIC)
    if image.size != (form.width, form.height):
        raise DataError(
            f"{path}: is {image.height} x {image.width}, but {form.model.name} is {form.height} x {form.width}: "
            "resize all (size=, --size), or remove it"
        )
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _converted(path: Path, image: Image.Image, form: _Format) -> Image.Image:
    mode = _mode(image)
    if mode == form.mode:
        return image if image.mode == mode else image.convert(mode)
    if not form.convert:
        raise DataError(
            f"{path}: is {_WORDS[mode]}, but {form.model.name} is {_WORDS[form.mode]}: "
            "convert all (channels=1 or channels=3), or remove it"
        )
    if mode == "RGBA":  # what is transparent is seen on white
        opaque = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque)
    return image.convert(form.mode)


def _mode(image: Image.Image) -> str:
    """Grey, colour, or colour with transparency.

    Raises:
        ValueError: for more than 8 bits.
    """
    if image.mode in ("1", "L"):
        return "L"
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return "RGBA"
    if image.mode in ("P", "RGB", "CMYK", "YCbCr"):
        return "RGB"
    raise ValueError(f"mode {image.mode} is not of 8 bits: convert it")


def _format(folder: Path, files: list[Path], options: Options) -> _Format:
    """Size and channels of the first readable image, or what is asked for."""
    asked = None if options.channels is None else ("L" if options.channels == 1 else "RGB")
    for path in files:
        try:
            with Image.open(path, formats=_FORMATS) as opened:
                image = ImageOps.exif_transpose(opened)
                height, width = options.size or (image.height, image.width)
                return _Format(asked or _mode(image), height, width, path, options.size is not None, asked is not None)
        except _UNREADABLE as error:
            if not options.skip_bad:
                raise DataError(
                    f"{path}: {_reason(error)}: replace or remove it, or skip it (skip_bad, --skip-bad)"
                ) from None
    raise DataError(f"{folder}: not one of its {len(files)} images can be read: are they PNG, JPEG or WebP?")
