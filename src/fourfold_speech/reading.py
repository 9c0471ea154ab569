"""Folders of sound: every sub-folder a class, or one flat folder, with or without transcripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import final

import numpy as np
import torch

from fourfold.data.captions import Medium, captioned_files, encoded
from fourfold.data.errors import DataError, option
from fourfold.data.folders import classes_of, limited
from fourfold.data.formats import FileFormat
from fourfold.data.memory import require
from fourfold.data.source import Source
from fourfold.settings.data import DataOptions
from fourfold_speech.space import FULL_SCALE, Audio

__all__ = ["Sounds", "read_sounds"]

RATE = 8000
"""Samples in a second of clips, at most, unless a rate is given."""
SECONDS = 2.0
"""Seconds of clips without transcripts, at most, unless a number is given."""
TOLD = 10.0
"""The same of clips with transcripts."""
WORDS = 4096
"""Bytes of a transcript, at most."""
SOUNDS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au")
"""Endings of files of sound."""
CLIPS = Medium(SOUNDS, "a sound", "WAV, FLAC, OGG or MP3 files", "transcript", WORDS)
LONGEST = 3600.0
"""Seconds of one file that is read, at most."""
ALL = 360_000.0
"""Seconds of all files together, at most."""
SILENT = 32
"""The loudest sample, of 32,768, of a file that counts as silent: 60 dB below full scale."""
LOUD = 32766
"""Samples from here on, three in a row, are clipped."""


@dataclass(frozen=True)
class _Header:
    """The rate, channels and length that a file announces."""

    rate: int
    channels: int
    samples: int

    @property
    def seconds(self) -> float:
        return self.samples / self.rate


@dataclass
class _Faults:
    """Files of each kind that a reader tells of."""

    stereo: list[Path] = field(default_factory=list)
    silent: list[Path] = field(default_factory=list)
    clipped: list[Path] = field(default_factory=list)


@final
class Sounds(FileFormat):
    """Recordings, alone or in folders."""

    things, suffixes, settings = "sounds", SOUNDS, ("rate", "seconds")

    def read(self, path: Path, options: DataOptions) -> Source:
        return read_sounds(path, options)


def read_sounds(path: Path, options: DataOptions) -> Source:
    """Read a recording, or all sounds of a folder, as clips of one sampling rate and one length.

    The rate is that of most files, at most :data:`RATE` unless one is given. Other files are resampled. The length is
    that of the longest file, at most :data:`SECONDS`, or :data:`TOLD` with transcripts, unless a number is given.
    Longer files are cut into clips. All clips of a file of a folder stay in one split. A longer file with a
    transcript is left out, since it would lose words. Shorter clips are padded with zeros. Several channels are mixed
    into one. ``Source.notes`` tells of all this, and names the first silent and the first clipped file.

    Raises:
        DataError: for an empty folder, a file that is broken, empty or not sound (unless ``skip_bad``), or more than
            fits into memory.
    """
    _check(options)
    library = _soundfile(path)
    files, skipped, captions = captioned_files(path, CLIPS, options.skip_bad)
    headers, bad = _headers(limited(files, options), options, library)
    rate, length = _form(list(headers.values()), bool(captions), options)
    longer = _too_long(headers, captions, length / rate)
    seconds = sum(header.seconds for header in headers.values())
    if seconds > ALL:
        way = "give --limit, or fewer files"
        raise DataError(f"{path}: must have at most {ALL / 3600:,.0f} hours of sound, got {seconds / 3600:,.0f}; {way}")
    require(2.5 * rate * seconds + 2.5 * length * len(headers), path, "give --limit, or a lower --rate")
    clips, faults = _decode_all(headers, rate, length, bad, options, library)
    if not clips:
        reasons = [*skipped, *bad.values(), "are they WAV, FLAC, OGG or MP3?"]
        raise DataError(f"{path}: must have a sound that can be used, got {len(files)} others: {reasons[0]}")
    skipped += [f"{file}: {reason}" for file, reason in bad.items()]
    owner = torch.tensor([i for i, parts in enumerate(clips.values()) for _ in parts])
    x = torch.from_numpy(np.stack([clip for parts in clips.values() for clip in parts]))
    where = f"{path}, {len(clips):,} file{'s' * (len(clips) != 1)}, {seconds / 60:.1f} minutes"
    notes = [
        *_length_note(longer, length / rate, options),
        *_notes(path, [*headers.values()], faults, rate, length, options),
    ]
    groups = owner if 1 < len(clips) < len(x) else None
    places = tuple(file.relative_to(path).as_posix() if file != path else file.name for file in clips)
    source = Source(
        x,
        Audio(length, rate),
        where,
        skipped=tuple(skipped),
        groups=groups,
        notes=tuple(notes),
        files=tuple(places[i] for i in owner.tolist()),
    )
    if captions:
        cond, given = encoded([captions[file] for file in clips])
        return replace(source, cond=cond, given=given)
    if all(path in (file, file.parent) for file in files):
        way = "put the sounds of each class into a sub-folder of its own, or add transcripts (transcripts.txt)"
        return replace(source, hint=way)
    labels, classes = classes_of([*clips])
    return replace(source, cond=labels[owner], given=classes)


def _check(options: DataOptions) -> None:
    if options.rate is not None and not 1000 <= options.rate <= 192_000:
        raise DataError(f"rate must be from 1,000 to 192,000 Hz, got {options.rate}; give {option('rate', 16000)}")
    if options.seconds is not None and not 0 < options.seconds <= LONGEST:
        raise DataError(
            f"seconds must be positive and at most {LONGEST:,.0f}, got {options.seconds}; give {option('seconds', 2)}"
        )


def _soundfile(path: Path) -> ModuleType:
    try:
        import soundfile  # optional
    except (ImportError, OSError):
        raise DataError(f"{path}: sound is read with the extra 'audio': pip install '.[audio]' in its clone") from None
    library: ModuleType = soundfile
    return library


def _unreadable(library: ModuleType) -> tuple[type[Exception], ...]:
    return (library.LibsndfileError, OSError, ValueError, RuntimeError, MemoryError)


# --- headers ---------------------------------------------------------------------------------------------------------


def _headers(
    files: Sequence[Path], options: DataOptions, library: ModuleType
) -> tuple[dict[Path, _Header], dict[Path, str]]:
    """The header of each file, or the reason why it cannot be read."""
    headers: dict[Path, _Header] = {}
    bad: dict[Path, str] = {}
    for path in files:
        header = _header(path, library)
        if isinstance(header, str):
            _refuse(path, header, options, bad)
        else:
            headers[path] = header
    return headers, bad


def _refuse(path: Path, reason: str, options: DataOptions, bad: dict[Path, str]) -> None:
    if not options.skip_bad:
        raise DataError(f"{path}: {reason}: replace or remove it, or skip it with {option('skip_bad', True)}")
    bad[path] = reason


def _header(path: Path, library: ModuleType) -> _Header | str:
    if not path.is_file() or not path.stat().st_size:
        return "is empty" if path.is_file() else "must be a regular file, got another kind"
    try:
        info = library.info(str(path))
    except _unreadable(library) as error:
        return _reason(error)
    if info.frames < 1:
        return "must have samples, got none"
    if not 1000 <= info.samplerate <= 768_000 or not 1 <= info.channels <= 64:
        return f"announces {info.channels} channels at {info.samplerate} Hz"
    if info.frames > LONGEST * info.samplerate:
        return f"is {info.frames / info.samplerate / 60:,.0f} minutes long, more than {LONGEST / 60:.0f}"
    return _Header(info.samplerate, info.channels, info.frames)


def _reason(error: BaseException) -> str:
    words = " ".join(str(error).split()).rpartition(": ")[2].strip(" .")
    return f"cannot be read ({words[:100] or type(error).__name__})"


def _form(headers: list[_Header], whole: bool, options: DataOptions) -> tuple[int, int]:
    """The rate and the length in samples that all clips are brought to."""
    rates = Counter(header.rate for header in headers)
    rate = options.rate or min([*sorted(rates, key=lambda rate: (-rates[rate], rate)), RATE][0], RATE)
    most = TOLD if whole else SECONDS
    seconds = options.seconds or min(max((header.seconds for header in headers), default=most), most)
    return rate, max(round(seconds * rate + 0.499), 1)


def _too_long(headers: dict[Path, _Header], captions: Mapping[Path, str], seconds: float) -> int:
    """Take out files that would lose words. Return how many these are."""
    long = [path for path, header in headers.items() if path in captions and header.seconds > seconds + 1e-6]
    for path in long:
        del headers[path]
    return len(long)


# --- samples ----------------------------------------------------------------------------------------------------------


def _decode_all(
    headers: Mapping[Path, _Header],
    rate: int,
    length: int,
    bad: dict[Path, str],
    options: DataOptions,
    library: ModuleType,
) -> tuple[dict[Path, list[np.ndarray]], _Faults]:
    """The clips of each file, and their faults. Files that cannot be read are added to ``bad``."""
    clips: dict[Path, list[np.ndarray]] = {}
    faults = _Faults()
    for path in headers:
        try:
            clips[path] = _clips_of(_samples(path, rate, faults, library), length)
        except _unreadable(library) as error:
            _refuse(path, _reason(error), options, bad)
    return clips, faults


def _samples(path: Path, rate: int, faults: _Faults, library: ModuleType) -> np.ndarray:
    """A file as samples ``(L,)`` int16 in one channel at a sampling rate.

    Raises:
        ValueError: for a file without samples, or with one that is not finite.
    """
    x, file_rate = library.read(str(path), dtype="float32", always_2d=True)
    if not len(x):
        raise ValueError("must have samples, got none")
    if not np.isfinite(x).all():
        raise ValueError("samples must be finite, got NaN or infinity")
    if x.shape[1] > 1:
        faults.stereo.append(path)
    if _is_clipped(x):
        faults.clipped.append(path)
    mono = x.mean(1)
    if file_rate != rate:
        import soxr  # optional

        mono = soxr.resample(mono, file_rate, rate)
    samples = (mono * FULL_SCALE).round().clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    if np.abs(samples.astype(np.int32)).max(initial=0) <= SILENT:
        faults.silent.append(path)
    return samples


def _is_clipped(x: np.ndarray) -> bool:
    """True if three samples in a row stand at full scale, on one side, in some channel."""
    sides = (x * FULL_SCALE >= LOUD, x * FULL_SCALE <= -LOUD)
    return any(bool((side[2:] & side[1:-1] & side[:-2]).any()) for side in sides)


def _clips_of(samples: np.ndarray, length: int) -> list[np.ndarray]:
    """Clips of one length: consecutive ones, of which the last is padded. A last one below a tenth is left out."""
    ends = range(0, max(len(samples) - length // 10, 1), length)
    return [np.pad(samples[i : i + length], (0, max(length - len(samples) + i, 0))) for i in ends]


def _notes(
    folder: Path, headers: list[_Header], faults: _Faults, rate: int, length: int, options: DataOptions
) -> Iterator[str]:
    """Remarks on conversions that no option asked for, and on files that sound wrong."""
    reason = ", as the model expects them" if options.model is not None else ""
    rates = Counter(header.rate for header in headers if header.rate != rate)
    if rates and (options.rate is None or reason):
        kinds = ", ".join(f"{count:,} of {file_rate:,} Hz" for file_rate, count in rates.items())
        way = reason or f": for another rate give {option('rate', 16000)}"
        yield f"resampled to {rate:,} Hz ({kinds}){way}"
    long = sum(header.seconds > length / rate + 1e-6 for header in headers)
    if long:
        way = reason or ("" if options.seconds is not None else f": for another length give {option('seconds', 4)}")
        yield f"cut {long:,} longer files into clips of {length / rate:.3g} s{way}"
    short = sum(header.seconds * rate < length - 1 for header in headers)
    if short and not long:
        yield f"padded {short:,} of {len(headers):,} clips with silence to {length / rate:.3g} s"
    yield from _file_note(folder, faults.stereo, "mixed into one channel")
    yield from _file_note(folder, faults.silent, "silent")
    yield from _file_note(folder, faults.clipped, "clipped (samples in a row at full scale)")


def _length_note(longer: int, seconds: float, options: DataOptions) -> Iterator[str]:
    if longer:
        way = "" if options.seconds is not None else f": for longer clips give {option('seconds', 30)}"
        yield f"left out {longer:,} files longer than {seconds:.3g} s, which would lose words of their transcripts{way}"


def _file_note(folder: Path, paths: Sequence[Path], word: str) -> Iterator[str]:
    if paths:
        more = f" and {len(paths) - 1:,} more" if len(paths) > 1 else ""
        name = paths[0].relative_to(folder) if paths[0] != folder else paths[0].name
        yield f"{word}: {name}{more}"
