"""Transcribes sounds of any length by a model of transcripts."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from fourfold.core import GenerativeModel
from fourfold.core.evaluations import evaluating
from fourfold.spaces import Lines
from fourfold.tasks import search
from fourfold_speech.blocks import sound_blocks
from fourfold_speech.paradigm import Alignments, JointLikelihood, TranscriptConditionals
from fourfold_speech.space import Audio

__all__ = ["Hypothesis", "Segment", "Transcript", "beam_search", "segments", "transcribe"]

BEAMS = 5
"""Texts that are kept in a search, where nothing else is asked for."""
QUIET = 33.0
"""The loudest sample, of 32,768, at which a part of a sound counts as silent in any case: 60 dB below full scale."""


# --- search -----------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Hypothesis:
    """A text that may be what was said.

    Attributes:
        ids: its tokens, without its end.
        log_prob: ``log p(text | sound)`` in nats, its end included. Of a text without room for its end, that of all
            texts that begin so.
        score: what texts are ranked by: ``log_prob``, or its mean with that of an alignment.
    """

    ids: tuple[int, ...]
    log_prob: float
    score: float

    def rank(self, penalty: float) -> float:
        """``score / (tokens + 1)^penalty``."""
        return self.score / (len(self.ids) + 1) ** penalty


@torch.no_grad()
def beam_search(
    model: GenerativeModel,
    sound: Tensor,
    beams: int = BEAMS,
    penalty: float = 0.0,
    alignment: float | None = None,
) -> list[Hypothesis]:
    """The likeliest texts of a sound that a search of some width finds, the best first.

    At each token the ``beams`` best prefixes are kept. The search ends when no prefix can still become a better
    text than the best one that has ended. Ids that the network never writes are passed over, but keep their
    probability, so that every score is exact.

    Texts are ranked by ``(1 - a) log p(text | sound) + a log p_ctc(text | sound)``: the second, which labels each frame
    for itself, holds against texts that are likely whatever the sound (Hori, Watanabe, Hershey 2017,
    https://doi.org/10.18653/v1/P17-1048).

    Args:
        model: of transcripts given sound.
        sound: samples ``(L,)`` int16.
        beams: number of prefixes.
        penalty: texts are ranked by their score over ``(tokens + 1)^penalty``. 0 ranks by the score, 1 by its mean.
        alignment: the weight ``a``. By default that of training, 0 for a model that was trained without.

    Raises:
        ValueError: for beams below 1, a negative penalty, a weight outside [0, 1) or of a model without alignments, or
            a sound that is too long.
        TypeError: for a model of something else.
    """
    _, sounds, _ = transcript_parts(model)
    if beams < 1 or penalty < 0:
        raise ValueError(f"beams must be at least 1 and the penalty at least 0, got {beams} and {penalty}")
    if len(sound) > sounds.length:
        raise ValueError(
            f"sound must be at most {sounds.length / sounds.rate:.1f} s long, got {len(sound) / sounds.rate:.1f} s: "
            "use transcribe, which cuts it"
        )
    share = alignment_of(model, alignment)
    with evaluating(model):
        if not (share or penalty) and (likeliest := _by_the_network(model, sound, beams)):
            return [likeliest]
        texts = _Texts(model, sound, beams, penalty, share)
        search.beam_search(texts, beams, texts.length)
    return texts.ranked


def _by_the_network(model: GenerativeModel, sound: Tensor, beams: int) -> Hypothesis | None:
    """The likeliest text that a search of the network itself meets. None for a network without."""
    space, _, estimand = transcript_parts(model)
    length = math.prod(estimand.event)
    states = estimand.encode(1, sound[None].to(model.device))
    texts = estimand.net.likely_texts(states, beams, length)
    if texts is None:
        return None
    x = torch.full((1, length), space.end, device=model.device)
    x[0, : len(texts[0])] = torch.tensor(texts[0], device=model.device)
    log_prob = float(estimand.log_masses(x, states).double().sum())
    return Hypothesis(texts[0], log_prob, log_prob)


@final
class _Texts(search.Paths):
    """The unfinished texts of a sound, their log-probabilities and scores, and the best finished ones."""

    def __init__(self, model: GenerativeModel, sound: Tensor, beams: int, penalty: float, share: float) -> None:
        *_, self.estimand = transcript_parts(model)
        self.device, self.beams, self.penalty, self.share = model.device, beams, penalty, share
        self.length = math.prod(self.estimand.event)
        self.state = self.estimand.begin(1, sound[None].to(model.device))
        self.aligned: Alignments | None = None
        if share and isinstance(model.objective, JointLikelihood):
            self.aligned = model.objective.alignments(self.state.sound, self.estimand.end)
        self.ids, self.log_p = torch.empty(1, 0, dtype=torch.long), torch.zeros(1, dtype=torch.float64)
        self.ranked: list[Hypothesis] = []

    def scores(self) -> Tensor:
        end, first = self.estimand.end, () if self.ids.shape[1] else self.estimand.net.not_first
        self.nats = self.log_p[:, None] + self.estimand.log_probs(self.state).double().cpu()
        scores = self.nats
        if self.aligned is not None:
            scores = (1 - self.share) * self.nats + self.share * self.aligned.log_probs()
        if end not in first:
            self._finish(self.nats[:, end], scores[:, end])
        unfinished = scores.clone()
        unfinished[:, [end, *self.estimand.net.never, *first]] = -math.inf
        return unfinished

    def promising(self, scores: Tensor) -> int:
        """All, unless no text that goes on can be ranked above the best finished one."""
        hopeless = self.ranked and float(scores[0]) / self.length**self.penalty <= self.ranked[0].rank(self.penalty)
        return 0 if hopeless else len(scores)

    def follow(self, rows: Tensor, tokens: Tensor, scores: Tensor) -> None:
        self.ids, self.log_p = torch.cat([self.ids[rows], tokens[:, None]], 1), self.nats[rows, tokens]
        self.state = self.state.select(rows.to(self.device))
        self.estimand.take(self.state, tokens.to(self.device))
        if self.aligned is not None:
            self.aligned.take(rows, tokens)
        if self.ids.shape[1] == self.length:
            self._finish(self.log_p, scores)

    def _finish(self, nats: Tensor, scores: Tensor) -> None:
        """Rank texts among the finished ones, of which the best are kept."""
        rows = zip(self.ids.tolist(), nats.tolist(), scores.tolist(), strict=True)
        self.ranked += [Hypothesis(tuple(ids), log_prob, score) for ids, log_prob, score in rows if score > -math.inf]
        self.ranked = sorted(self.ranked, key=lambda text: -text.rank(self.penalty))[: self.beams]


def alignment_of(model: GenerativeModel, weight: float | None = None) -> float:
    """The weight of alignments in a search: as asked for, or as in training.

    Raises:
        ValueError: for a weight outside [0, 1), or one of a model that was trained without alignments.
    """
    default = model.objective.alignment if isinstance(model.objective, JointLikelihood) else 0.0
    if weight is None:
        return default
    if not 0 <= weight < 1:
        raise ValueError(f"alignment must lie in [0, 1), got {weight}")
    if weight and not default:
        raise ValueError(f"alignment must be 0 for a model that was trained without, got {weight}: leave it out")
    return weight


def transcript_parts(model: GenerativeModel) -> tuple[Lines, Audio, TranscriptConditionals]:
    """The spaces and the estimand of a model of transcripts given sound.

    Raises:
        TypeError: for another model.
    """
    space, estimand = model.space, model.estimand
    if not isinstance(space, Lines) or not isinstance(estimand, TranscriptConditionals):
        raise TypeError(f"the model must be of texts given sounds, got one of {space}: train one with --space lines")
    assert isinstance(space.given, Audio), "texts are transcribed from sounds"
    return space, space.given, estimand


# --- long sounds ------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Segment:
    """A part of a sound, and its transcript.

    Attributes:
        start, end: in seconds.
        text: the transcript.
        log_prob: ``log p(text | this part of the sound)`` in nats, exact.
        tokens: tokens of the text, its end included.
    """

    start: float
    end: float
    text: str
    log_prob: float
    tokens: int

    def __str__(self) -> str:
        return f"{self.start:7.2f} - {self.end:6.2f}  {self.text}  ({self.log_prob:.2f} nats)"


@final
@dataclass(frozen=True)
class Transcript:
    """The transcript of a sound, part by part."""

    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """All that is said."""
        return " ".join(segment.text.strip() for segment in self.segments if segment.text.strip())

    @property
    def log_prob(self) -> float:
        """``sum log p(text of a part | that part)`` in nats."""
        return sum(segment.log_prob for segment in self.segments)

    def __str__(self) -> str:
        return "\n".join(map(str, self.segments))


def transcribe(
    model: GenerativeModel | Path | str,
    sound: Tensor | np.ndarray | Path | str,
    *,
    beams: int = BEAMS,
    penalty: float = 0.0,
    alignment: float | None = None,
) -> Transcript:
    """Transcribe a sound.

    Args:
        model: of transcripts given sound, or the folder of a run or of a published Whisper model.
        sound: a file, or a waveform ``(L,)`` at the rate of the model, as samples of int16 or as reals in [-1, 1].
        beams: number of prefixes that the search keeps.
        penalty: see :func:`beam_search`.
        alignment: see :func:`beam_search`.

    Raises:
        ValueError: for a folder or a file that cannot be read, or is not one of sound.
        TypeError: for a model of something else.
    """
    if not isinstance(model, GenerativeModel):
        from fourfold.engine import Run

        model = Run.load(model, "auto").model
    return Transcript(tuple(segments(model, sound, beams=beams, penalty=penalty, alignment=alignment)))


def segments(
    model: GenerativeModel,
    sound: Tensor | np.ndarray | Path | str,
    *,
    beams: int = BEAMS,
    penalty: float = 0.0,
    alignment: float | None = None,
) -> Iterator[Segment]:
    """The transcript of a sound, part by part, each as soon as it is known. Memory does not grow with the sound.

    A sound longer than the input of the model is cut at its quietest place in the second half of that length. Silent
    parts are passed over, and each part is read without the silence around it. See :func:`transcribe`.
    """
    space, sounds, _ = transcript_parts(model)
    if isinstance(sound, (str, os.PathLike)):
        blocks: Iterable[Tensor] = sound_blocks(Path(sound), sounds.rate)
    else:
        blocks = [_samples(sound)]
    for start, part in parts_of(blocks, sounds.rate, sounds.length):
        best = beam_search(model, part, beams, penalty, alignment)
        if best:
            ids = torch.tensor(best[0].ids, dtype=torch.long)
            end = (start + len(part)) / sounds.rate
            yield Segment(start / sounds.rate, end, space.show(ids), best[0].log_prob, len(ids) + 1)


def _samples(sound: Tensor | np.ndarray) -> Tensor:
    """A waveform in memory as samples, ``(L,)`` int16."""
    wave = torch.as_tensor(sound)
    if wave.ndim != 1 or not len(wave):
        raise ValueError(f"sound must have the shape (L,), got {tuple(wave.shape)}: give one channel")
    if wave.dtype == torch.int16:
        return wave
    if not wave.is_floating_point() or not bool(wave.isfinite().all()) or float(wave.abs().max()) > 1:
        peak = float(wave.abs().max())
        raise ValueError(f"sound must lie in [-1, 1], got up to {peak:g}: divide it by its peak, or give int16 samples")
    return (wave * 32768).round().clamp(-32768, 32767).to(torch.int16)


def parts_of(blocks: Iterable[Tensor], rate: int, most: int) -> Iterator[tuple[int, Tensor]]:
    """Parts of at most ``most`` samples of a sound that comes in blocks, each with the place where it begins.

    Args:
        blocks: samples ``(L,)`` int16, one after the other.
        rate: sampling rate in Hz.
        most: samples in a part.
    """
    start, rest = 0, torch.empty(0, dtype=torch.int16)
    for block in blocks:
        rest = torch.cat([rest, block])
        while True:
            silent = _silence(rest, rate)
            start, rest = start + silent, rest[silent:]
            if len(rest) <= most:
                break
            stop = _quietest(rest[:most], rate)
            yield from _loud(start, rest[:stop], rate)
            start, rest = start + stop, rest[stop:]
    yield from _loud(start, rest, rate)


def _silence(samples: Tensor, rate: int) -> int:
    """Samples at the start that are silent, but for the last 100 ms."""
    loud = (_peaks(samples, rate) > QUIET).nonzero()
    return max((int(loud[0]) if len(loud) else len(samples) // max(rate // 100, 1)) - 10, 0) * max(rate // 100, 1)


def _peaks(samples: Tensor, rate: int) -> Tensor:
    """The loudest sample of every 10 ms."""
    hop = max(rate // 100, 1)
    return torch.nn.functional.pad(samples.int().abs(), (0, -len(samples) % hop)).view(-1, hop).amax(1).float()


def _quietest(samples: Tensor, rate: int) -> int:
    """The middle of the quietest 200 ms in the second half."""
    peaks, wide = _peaks(samples, rate), 20
    half = len(peaks) // 2
    if len(peaks) - half <= wide:
        return len(samples)
    means = peaks[half:].unfold(0, wide, 1).mean(1)
    last = int((means <= means.min() * 1.001).nonzero()[-1])
    return min((half + last + wide // 2) * max(rate // 100, 1), len(samples))


def _loud(start: int, samples: Tensor, rate: int) -> Iterator[tuple[int, Tensor]]:
    """A part without the silence at both of its ends but for 100 ms. None if it is silent."""
    if not len(samples):
        return
    peaks, hop = _peaks(samples, rate), max(rate // 100, 1)
    loud = (peaks > max(QUIET, 0.02 * float(peaks.max()))).nonzero().flatten()
    if len(loud):
        first, last = max(int(loud[0]) - 10, 0) * hop, min((int(loud[-1]) + 11) * hop, len(samples))
        yield start + first, samples[first:last]
