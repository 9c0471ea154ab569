"""Clips of sound of one length, as waveforms of 16 bits."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from fourfold.core import Beside, Clips, Space, Writer
from fourfold.machine.libraries import pandas as pd
from fourfold.metrics.features import Features, cached
from fourfold.metrics.measures import by_frechet
from fourfold.metrics.neighbours import memorisation_ratio
from fourfold.metrics.references import References
from fourfold.metrics.score import Measurement
from fourfold.metrics.similarity import diversity
from fourfold.spaces import Categories, Lines, Vectors
from fourfold_speech.metrics import sound_features
from fourfold_speech.spectra import stft

__all__ = ["FULL_SCALE", "Audio", "spectrogram", "wav"]

FULL_SCALE = 32768
"""The number of 16-bit values between silence and full scale."""
SHOWN = 4
"""The most clips in a picture."""
MOST_BYTES = 300_000
"""The most bytes of sound in a picture. Longer clips are fewer, so that a page can hold many pictures."""
PAUSE = 0.25
"""Seconds of silence between the clips of one file."""


@dataclass(frozen=True)
class Audio(Space):
    """Clips of sound in one channel: raw batches are int16 ``(B, length)``, and ``x / 32768`` lies in [-1, 1).

    Exact zeros at the end of a clip are padding: :meth:`lengths` tells where the sound ends. So a clip that is shorter
    than ``length`` keeps its own length.

    Attributes:
        length: samples of one clip.
        rate: samples in a second.

    Raises:
        ValueError: for sizes below 1.
    """

    item_name: ClassVar[str] = "clips"
    length: int
    rate: int

    @classmethod
    def specimens(cls) -> Mapping[str, Sequence[Space]]:
        bare, captions = cls(4096, 8000), Lines.of_bytes(16)
        return {"sounds": (bare, bare.conditioned_on(Categories.numbered(10)), bare.conditioned_on(captions))}

    def __post_init__(self) -> None:
        if self.length < 1 or self.rate < 1:
            raise ValueError(
                f"the clip length and the sampling rate must be positive, got {self.length} samples at {self.rate} Hz"
            )

    def __str__(self) -> str:
        return f"clips of sound of {self.length / self.rate:.3g} s ({self.length:,} samples at {self.rate:,} Hz)"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,)

    @property
    def unit(self) -> str:
        return "bits/sample"

    def reading(self) -> Mapping[str, Any]:
        return {"rate": self.rate, "seconds": self.length / self.rate}

    def check(self, x: Tensor) -> None:
        self.check_shape(x)
        if x.dtype != torch.int16:
            raise ValueError(
                f"clips must be int16, got {x.dtype}; bring waveforms in [-1, 1] there with space.conform(x)"
            )

    def check_training(self, x: Tensor) -> None:
        if not bool(x.any()):
            raise ValueError("clips must have sound, got silence alone: give other files")

    def examples(self, n: int, generator: torch.Generator) -> Tensor:
        """Noise of every loudness."""
        loud = torch.rand(n, 1, generator=generator) * torch.randn(n, self.length, generator=generator)
        return (loud * FULL_SCALE / 3).round().clamp(-FULL_SCALE, FULL_SCALE - 1).to(torch.int16)

    def waveform(self, x: Tensor) -> Tensor:
        """Raw clips as reals in [-1, 1), float32 of the same shape."""
        return x.float() / FULL_SCALE

    def quantise(self, waveform: Tensor) -> Tensor:
        """The nearest 16-bit values of reals in [-1, 1], int16 of the same shape. It undoes :meth:`waveform`."""
        return (waveform * FULL_SCALE).round().clamp(-FULL_SCALE, FULL_SCALE - 1).to(torch.int16)

    def lengths(self, x: Tensor) -> Tensor:
        """Samples of each clip before the zeros at its end, ``(B,)`` int64."""
        place = torch.arange(1, x.shape[1] + 1, device=x.device)
        return (place * (x != 0)).amax(1)

    def conform(self, x: Tensor, source: Space | None = None) -> Tensor:
        """Integers as they are, and reals in [-1, 1] as the nearest ones. Shorter clips are padded with zeros.

        A table of numbers holds integers if one of them lies outside [-1, 1], and reals otherwise.
        """
        if source is not None and not (isinstance(source, Vectors) and source.dim <= self.length):
            self.require(source)
        if x.dtype == torch.int16:
            samples = x
        elif bool(torch.isfinite(x).all()) and float(x.abs().amax() if x.numel() else 0) <= FULL_SCALE:
            real = x.is_floating_point() and (not x.numel() or float(x.abs().amax()) <= 1)
            samples = self.quantise(x if real else x / FULL_SCALE)
        else:
            raise ValueError("waveforms must lie in [-1, 1], got larger values: divide them by the largest")
        short = self.length - samples.shape[-1]
        return torch.nn.functional.pad(samples, (0, short)) if short > 0 and samples.ndim == 2 else samples

    def conditions(self, value: Any, n: int) -> Tensor:
        """One clip for all samples, or one for each, ``(n, L)``. They may be shorter than ``length``."""
        x = torch.as_tensor(value)
        behind = x[..., self.length :]
        if x.ndim in (1, 2) and not bool((behind != 0).any()):
            x = self.conform(x[..., : self.length].reshape(-1, min(x.shape[-1], self.length)))
            x = x.expand(n, -1) if len(x) == 1 else x
        if x.ndim != 2 or len(x) != n:
            raise ValueError(
                f"the condition must be one clip, or {n}, of at most {self.length:,} samples each, got the shape "
                f"{tuple(torch.as_tensor(value).shape)}"
            )
        return x

    # --- files --------------------------------------------------------------------------------------------------------

    def table(self, x: Tensor) -> pd.DataFrame:
        """One column for each sample, with reals in [-1, 1)."""
        return super().table(x.double() / FULL_SCALE)

    def writers(self) -> Mapping[str, Writer]:
        """One file with a pause after each clip, and a folder of files, one sub-folder for each class."""
        return {".wav": self._write_one, "": self._write_folder}

    def _write_one(self, path: Path, x: Tensor, beside: Beside) -> None:
        pause = x.new_zeros(round(PAUSE * self.rate))
        parts = [part for clip in x for part in (pause, clip)][1:]
        path.write_bytes(wav(torch.cat(parts), self.rate))

    def _write_folder(self, path: Path, x: Tensor, beside: Beside) -> None:
        """Write clips without their padding and, beside them, a list of captions."""
        if path.exists() and any(path.iterdir()):
            raise ValueError(f"{path}: must be an empty folder, got one with files: choose another")
        width, lines = len(str(len(x) - 1)), []
        for i, (clip, n) in enumerate(zip(x, self.lengths(x).tolist(), strict=True)):
            name = beside.labels[i].replace("/", "-").replace("\0", "-").strip(".") if beside.labels else ""
            place = path / name / f"{i:0{width}}.wav"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(wav(clip[: max(n, 1)], self.rate))
            if beside.prompts:
                lines.append(f"{place.name}\t{beside.prompts[i * len(beside.prompts) // len(x)]}\n")
        if lines:
            (path / "captions.txt").write_text("".join(lines), encoding="utf-8")

    # --- measures and pictures ----------------------------------------------------------------------------------------

    def _features(self, name: str | None) -> Features:
        return sound_features(name or "mel-statistics", self.rate)

    def check_features(self, features: str | None) -> None:
        self._features(features)

    def measures(self, x: Tensor, references: References, features: str | None = None) -> Iterator[Measurement]:
        space = self._features(features)
        yield from by_frechet(x, references, space)
        train, test = cached(space, references.all_train), cached(space, references.test)
        yield memorisation_ratio(space(x), train, test, features=space.name, fresh=space(references.fresh))

    def coordinates(self, data: Tensor) -> Features:
        return self._features(None)

    def conditional_measures(self, draws: Tensor, truth: Tensor, data: Tensor) -> Iterator[Measurement]:
        """The energy score, and the diversity of draws given one condition."""
        yield from super().conditional_measures(draws, truth, data)
        space = self._features(None)
        points = space(draws.flatten(0, 1)).reshape(*draws.shape[:2], -1)
        yield diversity(points, space(data), features=space.name)

    def picture(self, x: Tensor, references: References | None = None, columns: int | None = None) -> Clips:
        """At most four clips, in the order of their classes: a player and a spectrogram of each."""
        most = max(min(SHOWN, MOST_BYTES // (2 * self.length)), 1)
        if columns is not None:  # pairs: samples above, and the nearest of the data below
            width = min(columns, most)
            clips = torch.cat([x[i : i + width] for i in range(0, len(x), columns)])
        else:
            width, clips = 0, x[:most]
            labels = None if references is None else references.cond
            if labels is not None and labels.ndim == 1:
                clips = clips[labels[: len(clips)].argsort(stable=True)]
        sounds = tuple(wav(clip, self.rate) for clip in clips)
        return Clips(sounds, tuple(spectrogram(clip, self.rate) for clip in clips), width)

    def nearest(self, x: Tensor, train: Tensor) -> Tensor:
        """The nearest by the Euclidean distance of :class:`~fourfold_speech.metrics.MelStatistics`."""
        space = self._features(None)
        return train[torch.cdist(space(x), space(train)).argmin(1)]


# --- files and pictures -----------------------------------------------------------------------------------------------


def wav(x: Tensor, rate: int) -> bytes:
    """A clip ``(L,)`` int16 as the content of a WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(x.cpu().contiguous().numpy().astype("<i2").tobytes())
    return buffer.getvalue()


COLOURS = ((0, 0, 8), (72, 12, 104), (180, 50, 90), (246, 136, 48), (252, 250, 160))
"""Colours of a spectrogram from silence to its loudest point, at equal distances."""
RANGE = 8.0
"""The range of a spectrogram in nats of magnitude: 70 dB."""


def spectrogram(x: Tensor, rate: int, height: int = 96) -> bytes:
    """A PNG of the magnitudes of a clip ``(L,)`` int16: time to the right, frequency upwards to half of the rate.

    One row of pixels is one frequency, one column one frame. The picture is about twice as wide as high. Colours span
    70 dB below the loudest point, which is at least 40 dB below full scale, so that silence stays dark.
    """
    hop = max(len(x) // (2 * height), 1)
    spectrum = stft(x[None].float() / FULL_SCALE, 2 * height, min(hop, 2 * height))[0, 1:].abs().clamp(min=1e-9).log()
    top = max(float(spectrum.amax()), -4.6)
    shade = ((spectrum - top) / RANGE + 1).clamp(0, 1).flip(0) * (len(COLOURS) - 1)
    table, low = torch.tensor(COLOURS).float(), shade.long().clamp(max=len(COLOURS) - 2)
    share = (shade - low)[..., None]
    pixels = table[low] * (1 - share) + table[low + 1] * share
    buffer = io.BytesIO()
    Image.fromarray(pixels.round().to(torch.uint8).numpy()).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
