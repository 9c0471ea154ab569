"""Whole texts, each with its end: what somebody said, or another short text."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from fourfold.core import Excerpts, Pairs, Space, decode_captions
from fourfold.metrics.references import References
from fourfold.metrics.score import Measurement
from fourfold.spaces.audio import Audio
from fourfold.spaces.text import Text
from fourfold.spaces.tokenizer import Tokenizer
from fourfold.spaces.vectors import Vectors
from fourfold.spaces.written import WrittenTexts
from fourfold_speech.metrics import error_rate

__all__ = ["Transcripts"]

SHOWN = 8
"""The most transcripts in a picture."""
MOST = 20_000
"""The most texts that are enumerated."""
ROOM = 1.5
"""The most tokens of a text that a space is made for, as a multiple of those of the longest text at hand."""


@dataclass(frozen=True)
class Transcripts(WrittenTexts):
    """Texts of different lengths: raw batches are integers ``(B, length)``, the tokens, then ends up to the length.

    A text of ``length`` tokens has no room for an end: it stands for all texts that begin so.

    Attributes:
        text: characters, bytes or subwords, and the most tokens of a text together with its end.
        rate: sampling rate of the sound in Hz.
        sound: the most samples of the sound that a text is the transcript of, or ``None``.
        lead: what tokens write before every text, such as a space: :meth:`parse` adds it.

    Raises:
        ValueError: for sizes below 1.
    """

    item_name: ClassVar[str] = "transcripts"
    settings: ClassVar[tuple[str, ...]] = ("tokens",)
    text: Text
    rate: int = 8000
    sound: int | None = None
    lead: str = ""

    def __post_init__(self) -> None:
        if self.rate < 1 or (self.sound is not None and self.sound < 1):
            raise ValueError(f"sound and rate must be at least 1, got {self.sound} samples at {self.rate} Hz")

    def __str__(self) -> str:
        source = "" if self.sound is None else f" of sounds of at most {self.sound / self.rate:.3g} s"
        return f"transcripts{source}, of at most {self.text.length - 1} {self.text.token}s"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.text.length,)

    @property
    def unit(self) -> str:
        return "nats"

    @property
    def end(self) -> int:
        """The id that ends a text: that of its tokenizer, or one behind all tokens."""
        end = None if self.text.tokenizer is None else self.text.tokenizer.end
        return self.text.tokens if end is None else end

    @property
    def tokens(self) -> int:
        """The number of distinct ids, the end included."""
        return max(self.text.tokens, self.end + 1)

    def counts(self, x: Tensor) -> Tensor:
        """Tokens of each text, without its end, ``(B,)`` int64."""
        return (x != self.end).sum(1)

    def byte_counts(self, x: Tensor) -> Tensor:
        sizes = torch.zeros(self.tokens, dtype=torch.float64)
        sizes[: self.text.tokens] = torch.tensor([len(token) for token in self.text.token_bytes()], dtype=torch.float64)
        return sizes[x.long()].sum(1)

    def check(self, x: Tensor) -> None:
        self.check_shape(x)
        if x.is_floating_point() or x.dtype == torch.bool:
            raise ValueError(f"ids must be integers, got {x.dtype}: use space.parse(texts)")
        if x.numel() and (int(x.min()) < 0 or int(x.max()) >= self.tokens):
            raise ValueError(
                f"ids must be at most {self.tokens - 1}, got {int(x.min())} to {int(x.max())}: was another space used?"
            )
        behind = (x == self.end).long()
        bad = (behind < behind.cummax(1).values).any(1).nonzero()
        if len(bad):
            raise ValueError(
                f"row {int(bad[0])}: must end with its end token, got one after it: use space.parse(texts)"
            )

    def parse(self, texts: Sequence[str]) -> Tensor:
        """The ids of texts, ``(B, length)`` int64.

        Raises:
            ValueError: for a text without room for its end, or a character outside the vocabulary.
        """
        x = torch.full((len(texts), self.text.length), self.end)
        for row, text in zip(x, texts, strict=True):
            ids = self.text.parse(self.lead + text)
            if len(ids) >= self.text.length:
                raise ValueError(
                    f"{text[:40]!r}... has {len(ids)} {self.text.token}s, more than {self.text.length - 1}: shorten it"
                )
            row[: len(ids)] = ids
        return x

    def show(self, ids: Tensor) -> str:
        """The text of ``(L,)`` ids, up to its end."""
        return self.text.show(ids[: int((ids != self.end).sum())]).removeprefix(self.lead)

    def examples(self, n: int, generator: torch.Generator) -> Tensor:
        x = torch.randint(self.text.tokens, (n, self.text.length), generator=generator)
        x = torch.where(x == self.end, 0, x)
        lengths = torch.randint(self.text.length, (n, 1), generator=generator)
        return torch.where(torch.arange(self.text.length) < lengths, x, self.end)

    def support(self, points: int, reach: float) -> tuple[Tensor, float]:
        if self.tokens**self.text.length > MOST:
            raise ValueError(f"{self.tokens}^{self.text.length} texts are too many to be enumerated")
        every = torch.tensor(list(itertools.product(range(self.tokens), repeat=self.text.length)))
        behind = (every == self.end).long()
        return every[(behind == behind.cummax(1).values).all(1)], 1.0

    # --- files --------------------------------------------------------------------------------------------------------

    def fits(self, other: Space) -> bool:
        return isinstance(other, Transcripts) and other.text == self.text

    def reading(self) -> Mapping[str, Any]:
        return {} if self.sound is None else {"rate": self.rate, "seconds": self.sound / self.rate}

    @classmethod
    def of_conditions(cls, pairs: Pairs, settings: Mapping[str, Any]) -> Transcripts:
        """The space of the transcripts of sounds, whose tokens are ``settings["tokens"]``, by default characters."""
        sounds, texts = _captioned(pairs)
        text = _tokens(texts, settings["tokens"])
        most = max(len(text.ids(content)) for content in texts)
        return cls(dataclasses.replace(text, length=round(ROOM * most) + 1), sounds.rate, sounds.length)

    def from_conditions(self, pairs: Pairs) -> Pairs | None:
        """The transcripts of sounds, each with its sound."""
        if not isinstance(pairs.space, Audio):  # only sounds have transcripts
            return None
        sounds, texts = _captioned(pairs)
        return Pairs(self.conditioned(), self.parse(texts), self._clips(pairs.x, sounds))

    def _clips(self, x: Tensor, sounds: Audio) -> Tensor:
        """Clips in the length of this space."""
        if sounds.rate != self.rate:
            raise ValueError(f"its audio is sampled at {sounds.rate:,} Hz, but the model expects {self.rate:,} Hz")
        most = self.sound or sounds.length
        if bool((x[:, most:] != 0).any()):
            raise ValueError(
                f"sounds must be at most {most / self.rate:.1f} s long, as the model expects; cut the longer ones"
            )
        return torch.nn.functional.pad(x[:, :most], (0, max(most - x.shape[1], 0)))

    def conform(self, x: Tensor, source: Space | None = None) -> Tensor:
        """Numbers of an array are ids."""
        if isinstance(source, Vectors) and source.dim == self.text.length and bool((x == x.round()).all()):
            return x.long()
        return super().conform(x, source)

    # --- measures and pictures ----------------------------------------------------------------------------------------

    def measures(self, x: Tensor, references: References, features: str | None = None) -> Iterator[Measurement]:
        """Errors in words and characters: sample ``i`` is a transcript of the sound of reference ``i``."""
        self.check_features(features)
        hypotheses, truths = ([self.show(ids) for ids in part] for part in (x, references.test))
        yield error_rate(hypotheses, truths, "word")
        yield error_rate(hypotheses, truths, "character")

    def picture(self, x: Tensor, references: References | None = None, columns: int | None = None) -> Excerpts:
        return Excerpts(tuple(self.show(ids) for ids in x[:SHOWN]))


def _captioned(pairs: Pairs) -> tuple[Audio, list[str]]:
    """The space of sounds, and what is said in each.

    Raises:
        ValueError: for other data.
    """
    if not isinstance(pairs.space, Audio) or pairs.cond is None or pairs.cond.ndim != 2:
        raise ValueError(
            "holds no sounds with transcripts: give a folder of sounds with a transcripts.csv (file, transcript), or a "
            ".txt beside each"
        )
    return pairs.space, decode_captions(pairs.cond)


def _tokens(texts: Sequence[str], tokens: str | None) -> Text:
    """Characters, or what was asked for.

    Raises:
        ValueError: for tokens of another name, or more subwords than the texts have.
    """
    if tokens in (None, "chars"):
        return Text("".join(sorted(set("".join(texts)))), 1)
    if tokens == "bytes":
        return Text("", 1)
    count = re.fullmatch(r"bpe:(\d+)", tokens or "")
    if not count:
        raise ValueError(f"tokens must be chars, bytes or bpe:COUNT for transcripts, got {tokens!r}: give one of them")
    return Text("", 1, tokenizer=Tokenizer.learn("\n".join(texts), int(count[1])))
