"""A sound as a stream of blocks, so that its length does not matter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fourfold.data.errors import DataError

__all__ = ["sound_blocks"]

BLOCK = 1.0
"""Seconds that are read at once."""


def sound_blocks(path: Path, rate: int) -> Iterator[Tensor]:
    """The samples of a file in one channel at a rate, block by block: ``(L,)`` int16.

    Several channels are mixed into one, and another rate is resampled.

    Raises:
        DataError: for a file that is missing, empty, broken or not of sound, or holds numbers that are not finite.
    """
    library = _library(path)
    if not path.is_file():
        raise DataError(f"{path}: must be a file, got a path that does not exist: give a WAV, FLAC, OGG or MP3 file")
    try:
        file = library.SoundFile(str(path))
    except (library.LibsndfileError, OSError, RuntimeError):
        reason = "is empty" if not path.stat().st_size else "is not a sound that can be read"
        raise DataError(f"{path}: {reason}: give a WAV, FLAC, OGG or MP3 file") from None
    with file:
        if file.frames == 0:
            raise DataError(f"{path}: must have sound, got none")
        yield from _blocks(path, file, rate, library)


def _blocks(path: Path, file: Any, rate: int, library: Any) -> Iterator[Tensor]:
    stream = None
    if file.samplerate != rate:
        import soxr

        stream = soxr.ResampleStream(file.samplerate, rate, 1, dtype="float32")
    size = max(int(BLOCK * file.samplerate), 1)
    while True:
        try:
            block = file.read(size, dtype="float32", always_2d=True)
        except (library.LibsndfileError, OSError, RuntimeError):
            raise DataError(f"{path}: is damaged at {file.tell() / file.samplerate:.1f} s: fetch it again") from None
        wave = block.mean(1) if len(block) else np.zeros(0, np.float32)
        if not np.isfinite(wave).all():
            raise DataError(f"{path}: samples must be finite, got others at {file.tell() / file.samplerate:.1f} s")
        last = len(block) < size
        wave = wave if stream is None else stream.resample_chunk(wave, last=last)
        yield torch.from_numpy((wave * 32768).round().clip(-32768, 32767).astype(np.int16))
        if last:
            return


def _library(path: Path) -> Any:
    try:
        import soundfile
    except (ImportError, OSError):
        raise DataError(f"{path}: sound is read with the extra 'audio': pip install '.[audio]' in its clone") from None
    return soundfile
