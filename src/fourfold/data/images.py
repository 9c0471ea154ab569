"""Folders of images: every sub-folder a class, or one flat folder, with or without captions."""

from __future__ import annotations

import io
import math
import statistics
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps

from fourfold.core import Space
from fourfold.data.captions import Medium, captioned_files, encoded
from fourfold.data.errors import DataError, option
from fourfold.data.folders import IMAGES, classes_of, limited
from fourfold.data.memory import require
from fourfold.data.source import Source
from fourfold.settings.data import DataOptions
from fourfold.spaces import Images

__all__ = [
    "UNREADABLE",
    "Format",
    "ImageHeader",
    "decode_into",
    "fault",
    "format_of",
    "header_of",
    "in_mode",
    "notes_of",
    "read_folder",
]

_FORMATS = ("PNG", "JPEG", "WEBP")
UNREADABLE = (
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
LARGEST = 90_000_000
"""Pixels of one image that is read, at most: a file of a few kilobytes can announce any number."""
SIDE = 64
"""Height and width of images of many sizes, at most, unless a size is given."""


@dataclass(frozen=True)
class Format:
    """The format that every image of a folder has or is converted to, and why it has this size, where that is said."""

    mode: str
    height: int
    width: int
    resize: bool
    why: str = ""

    @property
    def channels(self) -> int:
        return len(self.mode)


@dataclass(frozen=True)
class ImageHeader:
    """The format of an image, read from its header and turned as EXIF says."""

    mode: str
    height: int
    width: int


PICTURES = Medium(IMAGES, "an image", "PNG, JPEG or WebP images")


def read_folder(folder: Path, options: DataOptions) -> Source:
    """Read all images of a folder, or one image, into one uint8 tensor.

    Images of several sizes become one size: that of most of them, or else a square as wide as the median of their
    shorter sides, at most :data:`SIDE`. Grey images among coloured ones become coloured, and transparent pixels become
    white. ``Source.notes`` says so. A flat folder may hold captions, see
    :func:`~fourfold.data.captions.captioned_files`. Palettes become colours; EXIF orientation is applied; of an
    animation the first picture counts.

    Raises:
        DataError: for an empty folder, an unreadable image (unless ``skip_bad``), or more than fits into memory.
    """
    if options.channels not in (None, 1, 3) and options.model is None:
        raise DataError(f"channels must be 1 (grey) or 3 (colour), got {options.channels}")
    if options.size is not None and min(options.size) < 1:
        raise DataError(f"size must be a height and a width of at least 1, got {options.size}")
    within = folder if folder.is_dir() else folder.parent
    files, skipped, captions = captioned_files(folder, PICTURES, options.skip_bad)
    files = limited(files, options)
    headers, bad = _headers(folder, files, options)
    form = format_of(list(headers.values()), options)
    x, undecoded = _decode_all(folder, headers, form, options)
    bad |= undecoded
    good = [path for path in files if path not in bad]
    if not good:
        raise DataError(f"{folder}: images must be PNG, JPEG or WebP, got {len(files)}, none of which can be read")
    skipped += [f"{path}: {reason}" for path, reason in bad.items()]
    where = f"folder {folder}" + (f", resized to {form.height} x {form.width}" if form.resize else "")
    notes = tuple(notes_of(list(headers.values()), form, options))
    space = Images(form.channels, form.height, form.width)
    hint = "put the images of each class into a sub-folder of its own, or add captions (captions.txt)"
    cond: torch.Tensor | None = None
    given: Space | None = None
    if captions:
        cond, given = encoded([captions[path] for path in good])
    elif not all(path.parent == within for path in files):
        cond, given = classes_of(good)
    return Source(
        torch.from_numpy(x),
        space,
        where,
        cond,
        given,
        skipped=tuple(skipped),
        hint=hint,
        notes=notes,
        files=tuple(path.relative_to(within).as_posix() for path in good),
    )


# --- headers ----------------------------------------------------------------------------------------------------------


def _headers(folder: Path, files: list[Path], options: DataOptions) -> tuple[dict[Path, ImageHeader], dict[Path, str]]:
    """The format of each image, or the reason why its file cannot be read."""
    headers: dict[Path, ImageHeader] = {}
    bad: dict[Path, str] = {}
    with ThreadPoolExecutor(_THREADS) as threads, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # LARGEST is stricter
        for path, header in zip(files, threads.map(_header, files), strict=True):
            if isinstance(header, ImageHeader):
                headers[path] = header
            elif options.skip_bad:
                bad[path] = header
            else:
                threads.shutdown(cancel_futures=True)
                raise DataError(f"{path}: {header}: replace or remove it, or skip it with {option('skip_bad', True)}")
    if not headers:
        raise DataError(f"{folder}: images must be PNG, JPEG or WebP, got {len(files)}, none of which can be read")
    return headers, bad


def _header(path: Path) -> ImageHeader | str:
    """The format of an image, or the reason why its file cannot be read."""
    if not path.is_file():
        return "must be a regular file, got another kind"
    return header_of(path) if path.stat().st_size else "is empty"


def header_of(file: Path | IO[bytes]) -> ImageHeader | str:
    """The format of an encoded image, or the reason why it cannot be read."""
    try:
        with Image.open(file, formats=_FORMATS) as image:
            exif = Image.Exif()
            exif.load(image.info.get("exif") or b"")  # getexif() would decode a PNG
            mode, (width, height) = _mode(image), image.size
            turned = exif.get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    except UNREADABLE as error:
        return fault(error)
    if width * height > LARGEST:
        return f"has {width * height / 1e6:.0f} million pixels, more than {LARGEST / 1e6:.0f} million"
    return ImageHeader(mode, width, height) if turned else ImageHeader(mode, height, width)


def format_of(headers: list[ImageHeader], options: DataOptions) -> Format:
    """Size and channels that all images are brought to."""
    modes = {header.mode for header in headers}
    mode = {1: "L", 3: "RGB", 4: "RGBA", None: modes.pop() if len(modes) == 1 else "RGB"}[options.channels]
    sizes = Counter((header.height, header.width) for header in headers)
    if options.size is not None:
        return Format(mode, *options.size, resize=True)
    size, count = min(sizes.items(), key=lambda item: (-item[1], item[0]))
    if 2 * count < len(headers):
        median = statistics.median_low(min(header.height, header.width) for header in headers)
        side, limit = min(SIDE, median), f", and {SIDE} the most" if median > SIDE else ""
        return Format(mode, side, side, True, f" ({median} is the median of their shorter sides{limit})")
    return Format(mode, *size, resize=len(sizes) > 1)


def notes_of(headers: list[ImageHeader], form: Format, options: DataOptions) -> Iterator[str]:
    """Remarks on conversions that no option asked for."""
    resized = sum((header.height, header.width) != (form.height, form.width) for header in headers)
    reason = ", as the model expects them" if options.model is not None else ""
    if resized and (options.size is None or reason):
        way = reason or f": for another size give {option('size', 32)}"
        yield f"resized {resized:,} of {len(headers):,} images to {form.height} x {form.width}{form.why}{way}"
    converted = Counter(header.mode for header in headers if header.mode != form.mode)
    if converted and (options.channels is None or reason):
        kinds = ", ".join(f"{count:,} {_WORDS[mode]}" for mode, count in converted.items())
        way = reason or f": for grey give {option('channels', 1)}"
        yield f"converted images to {_WORDS[form.mode]} ({kinds}){way}"


# --- decoding ---------------------------------------------------------------------------------------------------------


def _decode_all(
    folder: Path, headers: Mapping[Path, ImageHeader], form: Format, options: DataOptions
) -> tuple[np.ndarray, dict[Path, str]]:
    """Decode into one preallocated array, a bounded number of images at a time. Bad files are returned too."""
    files = list(headers)
    shape = (len(files), form.channels, form.height, form.width)
    decoding = 8 * _THREADS * max(header.height * header.width for header in headers.values())
    require(math.prod(shape) + decoding, folder, f"give {option('stream', True)}, --limit, or {option('size', 32)}")
    x = np.empty(shape, dtype=np.uint8)
    bad: dict[Path, str] = {}
    with ThreadPoolExecutor(_THREADS) as threads:
        for i, reason in _stream(threads, files, x, form):
            if not options.skip_bad:
                threads.shutdown(cancel_futures=True)
                raise DataError(
                    f"{files[i]}: {reason}: replace or remove it, or skip it with {option('skip_bad', True)}"
                )
            bad[files[i]] = reason
    keep = [path not in bad for path in files]
    return (x[keep] if bad else x), bad


def _stream(threads: ThreadPoolExecutor, files: list[Path], x: np.ndarray, form: Format) -> Iterator[tuple[int, str]]:
    """Decode chunk after chunk on the threads. Yield position and reason of every unreadable image."""

    def work(start: int) -> list[tuple[int, str]]:
        return list(_decode_chunk(range(start, min(start + _CHUNK, len(files))), files, x, form))

    for faults in threads.map(work, range(0, len(files), _CHUNK)):
        yield from faults


def _decode_chunk(rows: Iterable[int], files: list[Path], x: np.ndarray, form: Format) -> Iterator[tuple[int, str]]:
    for i in rows:
        try:
            x[i] = _decode(files[i], form)
        except UNREADABLE as error:
            yield i, fault(error)


def fault(error: BaseException) -> str:
    if "cannot identify" in str(error):
        return "cannot be read as PNG, JPEG or WebP"
    return f"cannot be read ({' '.join(str(error).split())[:100] or type(error).__name__})"


def decode_into(x: np.ndarray, content: bytes, form: Format) -> str:
    """Decode an image into ``(C, H, W)``. Return the reason why it cannot be read, or nothing.

    An image that announces too many pixels is not decoded.
    """
    header = header_of(io.BytesIO(content)) if content else "is empty"
    if isinstance(header, str):
        return header
    if not form.resize and (header.height, header.width) != (form.height, form.width):
        return f"is {header.height} x {header.width}, where others are {form.height} x {form.width}"
    try:
        x[:] = _decode(io.BytesIO(content), form)
    except UNREADABLE as error:
        return fault(error)
    return ""


def _decode(file: Path | IO[bytes], form: Format) -> np.ndarray:
    """One image as ``(C, H, W)``.

    Raises:
        ValueError: if it is of another size than its header says.
    """
    with Image.open(file, formats=_FORMATS) as file_image:
        if form.resize:
            file_image.draft(None, (form.width, form.height))
        image = in_mode(ImageOps.exif_transpose(file_image), form.mode)
        if form.resize and image.size != (form.width, form.height):
            image = ImageOps.fit(image, (form.width, form.height), Image.Resampling.BICUBIC)
    if image.size != (form.width, form.height):
        raise ValueError(f"size must be that of the header, got {image.height} x {image.width} pixels")
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The image in a mode. If the mode has no transparency, the image is shown on white."""
    own_mode = _mode(image)
    if own_mode == mode:
        return image if image.mode == mode else image.convert(mode)
    if own_mode == "RGBA":
        opaque = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque)
    return image.convert(mode)


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
    raise ValueError(f"mode must be of 8 bits, got {image.mode}; convert it")
