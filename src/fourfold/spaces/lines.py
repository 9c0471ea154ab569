"""Whole texts, each with its end: captions, transcripts and other short texts."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from fourfold.core import Excerpts, Pairs, Space
from fourfold.core.conditions import as_condition, items_of, numbers_of, unknown, unknown_like
from fourfold.machine.libraries import pandas as pd
from fourfold.metrics.coordinates import TokenCounts
from fourfold.metrics.references import References
from fourfold.metrics.score import Measurement
from fourfold.metrics.text import ngram_divergence
from fourfold.metrics.words import error_rate
from fourfold.spaces.text import Text
from fourfold.spaces.tokenizer import Tokenizer
from fourfold.spaces.vectors import Vectors
from fourfold.spaces.written import WrittenTexts

__all__ = ["Lines"]

SHOWN = 8
"""The most texts in a picture."""
MOST = 20_000
"""The most texts that are enumerated."""
ROOM = 1.5
"""The most tokens of a text that a space is made for, as a multiple of those of the longest text at hand."""


@dataclass(frozen=True)
class Lines(WrittenTexts):
    """Texts of different lengths: raw batches are integers ``(B, length)``, the tokens, then ends up to the length.

    A text of ``length`` tokens has no room for an end: it stands for all texts that begin so.

    Attributes:
        text: characters, bytes or subwords, and the most tokens of a text together with its end.
        lead: what tokens write before every text, such as a space: :meth:`parse` adds it.
        column: the column of a table that holds them.
    """

    item_name: ClassVar[str] = "texts"
    settings: ClassVar[tuple[str, ...]] = ("tokens",)
    several_draws: ClassVar[bool] = False
    text: Text
    lead: str = ""
    column: str = "text"

    @classmethod
    def of_bytes(cls, most: int) -> Lines:
        """Texts of at most ``most`` bytes of UTF-8, such as captions."""
        return cls(Text("", most + 1))

    @classmethod
    def of_texts(
        cls,
        texts: Sequence[str],
        tokens: str | None = None,
        column: str = "text",
        train: Sequence[str] | None = None,
    ) -> Lines:
        """The space of texts at hand, of characters, ``"bytes"`` or ``"bpe:COUNT"``, with room for longer ones.

        Args:
            texts: all of them. Their characters are the alphabet.
            tokens: what a text is made of.
            column: the name of the texts in a table.
            train: the texts whose frequent parts are subwords. ``None``: all.

        Raises:
            ValueError: for tokens of another name, or more subwords than the texts have.
        """
        text = _tokens(texts, tokens, texts if train is None else train)
        most = max(len(text.ids(content)) for content in texts)
        return cls(dataclasses.replace(text, length=round(ROOM * most) + 1), column=column)

    def __str__(self) -> str:
        return f"texts of at most {self.text.length - 1} {self.text.token}s"

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
                most = f"{self.text.length - 1} {self.text.token}s"
                raise ValueError(f"text must have at most {most}, got {len(ids)}: shorten {text[:40]!r}...")
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
            raise ValueError(f"texts must be at most {MOST:,} to be enumerated, got {self.tokens}^{self.text.length}")
        every = torch.tensor(list(itertools.product(range(self.tokens), repeat=self.text.length)))
        behind = (every == self.end).long()
        return every[(behind == behind.cummax(1).values).all(1)], 1.0

    # --- files --------------------------------------------------------------------------------------------------------

    def fits(self, other: Space) -> bool:
        return isinstance(other, Lines) and other.text == self.text

    def table(self, x: Tensor) -> pd.DataFrame:
        return super().table(x).set_axis([self.column], axis=1)

    def reading(self) -> Mapping[str, Any]:
        return {} if self.given is None else self.given.reading()

    @classmethod
    def of_conditions(cls, pairs: Pairs, settings: Mapping[str, Any]) -> Lines | None:
        """The space of the texts that examples come with, of the tokens ``settings["tokens"]``, by default characters.

        Each text is conditional on its example: captions on pictures, transcripts on sounds. Examples that are texts
        themselves stay so.
        """
        if type(pairs.space) is cls:
            return None
        return cls.of_texts(_texts(pairs), settings["tokens"]).conditioned_on(pairs.space.conditioned_on(None))

    def from_conditions(self, pairs: Pairs) -> Pairs | None:
        """The texts that examples come with, each with its example."""
        if not isinstance(pairs.space.given, Lines):  # an array of ids
            return None
        x = self.parse(_texts(pairs))
        given = self.given or pairs.space.conditioned_on(None)
        cond = given.conform(pairs.x, pairs.space)
        given.check(cond)
        return Pairs(self.conditioned_on(given), x, as_condition(cond))

    def conform(self, x: Tensor, source: Space | None = None) -> Tensor:
        """Numbers of an array are ids. Texts of other tokens are parsed again."""
        if isinstance(source, Lines) and not self.fits(source):
            return self.parse([source.show(ids) for ids in x])
        if isinstance(source, Vectors) and source.dim == self.text.length and bool((x == x.round()).all()):
            return x.long()
        return super().conform(x, source)

    def conditions(self, value: Any, n: int) -> Tensor:
        """One text for all samples, or one for each. The empty text and ``None`` are "unknown"."""
        value = items_of(value)
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, Sequence) or not texts or not all(isinstance(text, str | None) for text in texts):
            return super().conditions(self._filled_up(numbers_of(value)), n)
        cond = torch.cat([self.parse([text]) if text else self.unknown(1) for text in texts])
        return super().conditions(cond[0] if isinstance(value, str) else cond, n)

    def _filled_up(self, ids: Tensor) -> Tensor:
        """Ids ``(..., L)`` of shorter texts, as long as those of this space. Unknown ones stay unknown."""
        if ids.ndim != 2 or ids.shape[-1] >= self.text.length:
            return ids
        filled = torch.nn.functional.pad(ids, (0, self.text.length - ids.shape[-1]), value=self.end)
        return torch.where(unknown(ids)[:, None], unknown_like(filled), filled)

    def strings(self, cond: Tensor) -> list[str]:
        """The texts of conditions ``(B, L)``. An unknown one is the empty string."""
        return ["" if bare else self.show(ids) for ids, bare in zip(cond, unknown(cond).tolist(), strict=True)]

    def condition_table(self, cond: Tensor) -> pd.DataFrame:
        return pd.DataFrame({"text": self.strings(cond)})

    # --- measures and pictures ----------------------------------------------------------------------------------------

    def coordinates(self, data: Tensor) -> TokenCounts:
        return TokenCounts()

    def measures(self, x: Tensor, references: References, features: str | None = None) -> Iterator[Measurement]:
        """Errors in words and characters: sample ``i`` is a transcript of the sound of reference ``i``.

        Of texts given nothing, a class or a row, many may follow: their n-grams are compared, ends included.
        """
        self.check_features(features)
        if self.given is None or self.given.names or self.given.mixed:
            yield from self._frequencies(x, references)
            return
        hypotheses, truths = ([self.show(ids) for ids in part] for part in (x, references.test))
        yield error_rate(hypotheses, truths, "word")
        yield error_rate(hypotheses, truths, "character")

    def _frequencies(self, x: Tensor, references: References) -> Iterator[Measurement]:
        """The divergence of n-grams from those of references, up to one behind the end of the longest text."""
        width = 1 + int(max(self.counts(x).max(), self.counts(references.test).max()))
        train = references.train.features(references.train.pool[:, :width])
        for n in (4, 2, 1):
            if n <= width:
                unit = f"{self.text.token}s"
                yield ngram_divergence(x[:, :width], references.test[:, :width], n, train=train, unit=unit)

    def picture(self, x: Tensor, references: References | None = None, columns: int | None = None) -> Excerpts:
        return Excerpts(tuple(self.show(ids) for ids in x[:SHOWN]))


def _texts(pairs: Pairs) -> list[str]:
    """The text of each example.

    Raises:
        ValueError: for data without texts.
    """
    if pairs.cond is None or not isinstance(pairs.space.given, Lines):
        raise ValueError(
            "holds no examples with texts: give a folder with a captions.csv or transcripts.csv (file, text), a .txt "
            "beside each file, a .txt with a text in each line, or a table with a column of texts (--text)"
        )
    return pairs.space.given.strings(pairs.cond)


def _tokens(texts: Sequence[str], tokens: str | None, train: Sequence[str]) -> Text:
    """Characters, or what was asked for. Subwords are learned from training texts.

    Raises:
        ValueError: for tokens of another name, or more subwords than the texts have.
    """
    if tokens in (None, "chars"):
        return Text("".join(sorted(set("".join(texts)))), 1)
    if tokens == "bytes":
        return Text("", 1)
    count = re.fullmatch(r"bpe:(\d+)", tokens or "")
    if not count:
        raise ValueError(f"tokens must be chars, bytes or bpe:COUNT for these texts, got {tokens!r}: give one of them")
    return Text("", 1, tokenizer=Tokenizer.learn("\n".join(train), int(count[1])))
