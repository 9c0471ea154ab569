"""Codecs of clips of sound: samples as points, as tokens by the mu-law, or as power in mel bands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol, cast, final

import torch
from torch import Tensor

from fourfold.core import Codec, GenerativeModel, Measure, Noise, Stage, Staged
from fourfold.vocabulary import Kind
from fourfold_speech.space import FULL_SCALE, Audio
from fourfold_speech.spectra import frames, from_magnitude, from_mel, hop_of, log_mel

__all__ = ["CentredSamples", "LogMel", "MuLaw", "VocodedMel", "Waveforms"]


@final
class CentredSamples(Codec):
    """Samples as points of [-1, 1]: ``(B, L)`` int16 become ``(B, 1, L)`` reals ``(2 x + 1) / 65535``.

    The points are still counted, so a model gives masses of the samples.
    """

    measure = Measure.COUNTING
    rms = 0.1
    n_values = 2 * FULL_SCALE

    def __init__(self, space: Audio) -> None:
        super().__init__()
        self.space, self.event = space, (1, space.length)

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        return (2 * x.float() + 1).unsqueeze(1) / (self.n_values - 1), torch.zeros(len(x), device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        samples = (z.float().squeeze(1) * (self.n_values - 1) - 1) / 2
        return samples.round().clamp(-FULL_SCALE, FULL_SCALE - 1).to(torch.int16)


@final
class Waveforms(Codec):
    """Samples as reals in [-1, 1): ``(B, L)`` int16 become ``(B, 1, L)`` reals ``x / 32768``. Silence stays 0.

    The reals are still counted, so a model gives masses of the samples.
    """

    measure = Measure.COUNTING
    rms = 0.1

    def __init__(self, space: Audio) -> None:
        super().__init__()
        self.space, self.event = space, (1, space.length)

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        return self.space.waveform(x).unsqueeze(1), torch.zeros(len(x), device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        return self.space.quantise(z.float().squeeze(1))


@final
class MuLaw(Codec):
    """Samples as 256 tokens on a logarithmic scale, in rows: ``(B, L)`` to tokens ``(B, 1, L / width, width)``.

        k = round(128 F(x)) + 128,   F(x) = sign(x) log(1 + 255 |x|) / log 256

    for ``x`` in [-1, 1), so that 128 is silence. Each token stands for a cell of neighbouring 16-bit values, 5 to 2,069
    of them. Decoding draws one of a cell at random, so the mass of a value is ``P(k) / |cell|``: an exact likelihood of
    tokens stays exact, and ``-sum log |cell|`` takes the place of a log-determinant. Without noise, decoding gives the
    middle of a cell.

    Reference: ITU-T G.711, 1972, Pulse Code Modulation of Voice Frequencies (https://www.itu.int/rec/T-REC-G.711); as
    tokens of a model: van den Oord et al. 2016, WaveNet (https://arxiv.org/abs/1609.03499).

    Args:
        space: the space of the clips.
        width: samples in a row, which divides the length of a clip.

    Raises:
        ValueError: for a width that does not divide the length.
    """

    measure = Measure.COUNTING
    tokens = 256

    def __init__(self, space: Audio, width: int) -> None:
        super().__init__()
        if space.length % width:
            raise ValueError(f"width must divide the {space.length} samples of a clip, got {width}")
        self.space, self.width = space, width
        self.event = (1, space.length // width, width)
        values = torch.arange(-FULL_SCALE, FULL_SCALE, dtype=torch.float64) / FULL_SCALE
        law = values.sign() * (1 + 255 * values.abs()).log() / math.log(256)
        table = ((128 * law).round() + 128).clamp(max=255).long()
        counts = torch.zeros(self.tokens, dtype=torch.long).index_add_(0, table, torch.ones_like(table))
        self.register_buffer("table", table.to(torch.uint8), persistent=False)
        self.register_buffer("counts", counts, persistent=False)
        self.register_buffer("first", counts.cumsum(0) - counts - FULL_SCALE, persistent=False)

    table: Tensor
    counts: Tensor
    first: Tensor

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        k = self.table[x.long() + FULL_SCALE].long()
        return k.reshape(-1, *self.event), -self.counts[k].double().log().sum(1).float()

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        k = z.clamp(0, self.tokens - 1).flatten(1)
        share = 0.5 if noise is None else noise.uniform(self.space.length)
        place = (self.counts[k] * share).long().minimum(self.counts[k] - 1)
        return (self.first[k] + place).to(torch.int16)


@final
class LogMel(Codec):
    """The logarithm of the power in mel bands, ``(B, 1, bands, T)``, with mean 0 and variance 1 on the training data.

    The phases and the detail within a band are lost. Many waveforms have the same codes, so this codec gives no
    likelihood of a waveform. To decode, :func:`fourfold_speech.spectra.from_mel` finds magnitudes, and
    :func:`fourfold_speech.spectra.from_magnitude` finds phases. :class:`VocodedMel` decodes by a
    network.

    Args:
        space: the space of the clips.
        bands: number of mel bands.
        steps: iterations that find phases.
    """

    measure = Measure.LEBESGUE
    sensitive = True
    mean: Tensor
    scale: Tensor

    def __init__(self, space: Audio, bands: int = 64, steps: int = 32) -> None:
        super().__init__()
        self.space, self.bands, self.steps = space, bands, steps
        self.hop = hop_of(space.rate)
        self.fft = 4 * self.hop
        self.event = (1, bands, frames(space.length, self.hop))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    @property
    def decoding(self) -> str:
        return "find a waveform whose power in mel bands comes near, with phases by Griffin and Lim's iteration"

    @property
    def faithful(self) -> bool:
        return False

    def kind_of_raw(self, kind: Kind, note: str) -> tuple[Kind, str]:
        return Kind.NONE, "power in mel bands has lost the phases: its density is none of waveforms"

    def fit(self, x: Tensor) -> None:
        """Set mean and scale to those of all bands of the data."""
        some = torch.cat([self._bands(part).flatten() for part in torch.split(x[:2048].to(self.mean.device), 64)])
        self.mean.copy_(some.double().mean())
        self.scale.copy_(some.double().std())

    def _bands(self, x: Tensor) -> Tensor:
        return log_mel(self.space.waveform(x), self.bands, self.fft, self.hop, self.space.rate)

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        return ((self._bands(x) - self.mean) / self.scale).unsqueeze(1), x.new_zeros(len(x), dtype=torch.float32)

    def log_power(self, z: Tensor) -> Tensor:
        """The logarithm of the power in mel bands that codes ``(B, 1, bands, T)`` stand for: ``(B, bands, T)`` nats."""
        return z.float().squeeze(1) * self.scale + self.mean

    @torch.no_grad()
    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        magnitude = from_mel(self.log_power(z), self.fft, self.space.rate)
        return self.space.quantise(from_magnitude(magnitude, self.hop, self.space.length, self.steps))


class _Vocoder(Protocol):
    """The estimand of a vocoder."""

    latent: tuple[int, ...]

    def __call__(self, z: Tensor) -> Tensor: ...

    def standard(self, log_power: Tensor) -> Tensor: ...


@final
class VocodedMel(Codec, Staged):
    """Power in mel bands as :class:`LogMel` has it, decoded by a vocoder that is trained first.

    Many waveforms have the same bands, so this codec gives no likelihood of a waveform with any decoder. The variant
    ``GriffinLim`` decodes the same codes by iteration.

    Args:
        mel: gives the codes. Its mean and scale are those of the training data.
        vocoder: an unconditional model of the raw space, whose estimand maps power in mel bands to waveforms.
        share: the vocoder's share of the budget.

    Raises:
        TypeError: for a model that has no such estimand.
        ValueError: for a vocoder of other bands or frames.
    """

    measure = Measure.LEBESGUE
    sensitive = True

    def __init__(self, mel: LogMel, vocoder: GenerativeModel, share: float = 0.4) -> None:
        super().__init__()
        if not hasattr(vocoder.estimand, "standard"):
            raise TypeError(f"vocoder must be a model of Vocoder and Vocoding, got {type(vocoder.estimand).__name__}")
        self.mel, self.vocoder, self.share, self.event = mel, vocoder, share, mel.event
        if self._estimand.latent != mel.event[1:]:
            raise ValueError(
                f"a vocoder of {self._estimand.latent} bands and frames cannot decode {mel.event[1:]}: give both one "
                "space, and one number of bands"
            )

    @property
    def decoding(self) -> str:
        return "map its power in mel bands to a waveform by an adversarial vocoder"

    @property
    def faithful(self) -> bool:
        return False

    @property
    def _estimand(self) -> _Vocoder:
        return cast("_Vocoder", self.vocoder.estimand)

    def variants(self) -> Mapping[str, Codec]:
        return {"GriffinLim": self.mel}

    def kind_of_raw(self, kind: Kind, note: str) -> tuple[Kind, str]:
        return self.mel.kind_of_raw(kind, note)

    def stages(self) -> list[Stage]:
        return [Stage("vocoder", self.vocoder, self.share)]

    def fit(self, x: Tensor) -> None:
        self.mel.fit(x)

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        return self.mel.encode(x, noise)

    @torch.no_grad()
    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        return self.vocoder.codec.decode(self._estimand(self._estimand.standard(self.mel.log_power(z))), noise)
