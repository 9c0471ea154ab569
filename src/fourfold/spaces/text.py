"""Text as a stream of tokens, of which an example is a window."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Excerpts, Space
from fourfold.metrics.coordinates import TokenCounts
from fourfold.metrics.references import References
from fourfold.metrics.score import Measurement
from fourfold.metrics.text import copied_ngrams, ngram_divergence, repetition
from fourfold.spaces.tokenizer import Tokenizer
from fourfold.spaces.written import WrittenTexts
from fourfold.vocabulary import ONE_TOKENISATION, Kind

__all__ = ["Text", "code_points"]

SHOWN, LONGEST = 2, 400
"""The most excerpts in a picture, and the most characters of each."""
FOREIGN = "is not in the vocabulary"
"""The fault of a character, in the message."""
MOST = 20_000
"""The most texts that are enumerated."""


@dataclass(frozen=True)
class Text(WrittenTexts):
    """Text as token ids: raw batches are integers ``(B, length)``. An example is a window of a text.

    Tokens are characters, bytes or those of a tokenizer.

    Attributes:
        vocabulary: the characters, in the order of their ids. Empty for bytes (256 ids) and for a tokenizer.
        length: tokens in one window.
        tokenizer: the tokenizer, or ``None``.
        observed: how many tokens the text has, or ``None``.

    Raises:
        ValueError: for an empty window, or a vocabulary with a repeated character.
    """

    item_name: ClassVar[str] = "tokens"
    several_draws: ClassVar[bool] = False
    between: ClassVar[str] = "\n\n"
    vocabulary: str = ""
    length: int = 256
    tokenizer: Tokenizer | None = None
    observed: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.length < 1 or len(set(self.vocabulary)) != len(self.vocabulary):
            raise ValueError(
                f"text must have a length and distinct characters, got {self.length} and {self.vocabulary[:80]}"
            )
        if self.vocabulary and self.tokenizer is not None:
            raise ValueError("text must have a vocabulary of characters or a tokenizer, got both: give one")

    def __str__(self) -> str:
        count = "" if self.token == "byte" else f"{self.tokens:,} "
        return f"text over {count}{self.token}s, in windows of {self.length}"

    @property
    def token(self) -> str:
        """The word for one token: character, byte or token."""
        return "character" if self.vocabulary else "byte" if self.tokenizer is None else "token"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,)

    @property
    def window(self) -> int:
        return self.length

    def kind_of_text(self, kind: Kind, note: str) -> tuple[Kind, str]:
        """The kind that a mass of ids has for the text. A tokenizer can write it in several ways: one is scored."""
        if self.tokenizer is None or kind is not Kind.EXACT:
            return kind, note
        return Kind.LOWER_BOUND, f"{note}; {ONE_TOKENISATION}".lstrip("; ")

    @property
    def tokens(self) -> int:
        """The number of distinct ids."""
        return len(self.vocabulary) or (256 if self.tokenizer is None else self.tokenizer.count)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest type of integers that holds every id."""
        return np.dtype(np.uint8 if self.tokens <= 1 << 8 else np.int16 if self.tokens <= 1 << 15 else np.int32)

    @property
    def unit(self) -> str:
        return "nats/char" if self.vocabulary else "bits/byte"

    def byte_counts(self, x: Tensor) -> Tensor:
        """Bytes of UTF-8 in each window, ``(B,)`` float64."""
        if not self.vocabulary and self.tokenizer is None:
            return torch.full((len(x),), float(x.shape[1]), dtype=torch.float64)
        return self._sizes.to(x.device)[x.long()].sum(1)

    @cached_property
    def _sizes(self) -> Tensor:
        """Bytes of each token, ``(V,)`` float64."""
        sizes = (
            [len(character.encode()) for character in self.vocabulary]
            if self.tokenizer is None
            else self.tokenizer.sizes
        )
        return torch.as_tensor(sizes, dtype=torch.float64)

    def check(self, x: Tensor) -> None:
        if x.ndim != 2 or x.is_floating_point() or x.dtype == torch.bool:
            raise ValueError(
                f"text must be integer ids of shape (B, L), got {x.dtype} {tuple(x.shape)}; use space.parse(text)"
            )
        if x.numel() and (int(x.min()) < 0 or int(x.max()) >= self.tokens):
            raise ValueError(
                f"ids must be from 0 to {self.tokens - 1}, got {int(x.min())} to {int(x.max())}; "
                "parse the text with this vocabulary"
            )

    def token_bytes(self) -> list[bytes]:
        """The bytes of UTF-8 that each token stands for. None for a special token."""
        if self.tokenizer is not None:
            return self.tokenizer.token_bytes()
        return [c.encode() for c in self.vocabulary] or [bytes([i]) for i in range(256)]

    def parse(self, text: str) -> Tensor:
        """The ids of a text, ``(L,)`` int64.

        Raises:
            ValueError: for a character outside the vocabulary, with its position.
        """
        return self.ids(text).long()

    def parse_bytes(self, content: bytes, most: int | None = None) -> Tensor:
        """The ids of a file's content, or of its first ``most`` characters or bytes: see :meth:`ids`.

        Raises:
            ValueError: for a character outside the vocabulary, with its position. ``UnicodeDecodeError`` where
                characters are needed and the content is not UTF-8.
        """
        if not self.vocabulary and self.tokenizer is None:
            return self.ids(content[:most])
        text = content.decode("utf-8-sig")
        return self.ids(text[:most] if self.vocabulary else text)[:most]

    def ids(self, text: str | bytes, first: int = 0) -> Tensor:
        """The ids of a text in the smallest dtype that holds them: ``(L,)`` uint8, int16 or int32.

        Args:
            text: the text.
            first: place of its first character in a longer text, for messages.

        Raises:
            ValueError: for a character outside the vocabulary, with its position.
        """
        if self.tokenizer is not None:
            ids = self.tokenizer.ids(text if isinstance(text, str) else text.decode())
            return torch.from_numpy(ids.astype(self.dtype))
        if not self.vocabulary:
            content = text.encode() if isinstance(text, str) else text
            return torch.from_numpy(np.frombuffer(bytearray(content), dtype=np.uint8))
        text = text if isinstance(text, str) else text.decode()
        token_ids = np.empty(len(text), dtype=self.dtype)
        for start in range(0, len(text), 1 << 20):
            ids = self._table[code_points(text[start : start + (1 << 20)]).clip(max=len(self._table) - 1)]
            foreign = np.flatnonzero(ids < 0)
            if len(foreign):
                at = start + int(foreign[0])
                where = f"character {text[at]!r} at position {first + at}"
                raise ValueError(f"{where} {FOREIGN}: read all as bytes (--tokens bytes), or remove it")
            token_ids[start : start + len(ids)] = ids
        return torch.from_numpy(token_ids)

    @cached_property
    def _table(self) -> np.ndarray:
        """The id of each code point up to one behind the last of the vocabulary; -1 for those that are not in it."""
        codes = code_points(self.vocabulary)
        table = np.full(int(codes.max()) + 2, -1, dtype=np.int32)
        table[codes] = np.arange(len(codes))
        return table

    def show(self, ids: Tensor) -> str:
        """The text of ``(L,)`` ids. Bytes that are not UTF-8 are replaced."""
        if self.tokenizer is not None:
            return self.tokenizer.text(ids.tolist())
        if not self.vocabulary:
            return bytes(ids.tolist()).decode(errors="replace")
        return "".join(self.vocabulary[i] for i in ids.tolist())

    def examples(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randint(self.tokens, (n, self.length), generator=generator)

    def support(self, points: int, reach: float) -> tuple[Tensor, float]:
        if self.tokens**self.length > MOST:
            raise ValueError(f"texts must be at most {MOST:,} to be enumerated, got {self.tokens}^{self.length}")
        return torch.tensor(list(itertools.product(range(self.tokens), repeat=self.length))), 1.0

    # --- files --------------------------------------------------------------------------------------------------------

    def fits(self, other: Space) -> bool:
        return other == self

    def conform(self, x: Tensor, source: Space | None = None) -> Tensor:
        """A text over another vocabulary is parsed anew. The length of windows does not matter to a stream."""
        if not isinstance(source, Text):  # only another text has characters that can be parsed anew
            return super().conform(x, source)
        same = (source.vocabulary, source.tokenizer) == (self.vocabulary, self.tokenizer)
        return x if same else self.ids(source.show(x))

    # --- measures and pictures ----------------------------------------------------------------------------------------

    def coordinates(self, data: Tensor) -> TokenCounts:
        return TokenCounts()

    def measures(self, x: Tensor, references: References, features: str | None = None) -> Iterator[Measurement]:
        self.check_features(features)
        unit, test = f"{self.token}s", references.test
        for n in (4, 2, 1):
            if n <= x.shape[1]:
                yield ngram_divergence(x, test, n, train=references.train, unit=unit)
        if x.shape[1] > 8:
            yield repetition(x, test, unit=unit)
        if x.shape[1] >= 32:
            yield copied_ngrams(x, references.all_train, test, unit=unit)

    def picture(self, x: Tensor, references: References | None = None, columns: int | None = None) -> Excerpts:
        return Excerpts(tuple(self.show(ids)[:LONGEST] for ids in x[:SHOWN]))


def code_points(text: str) -> np.ndarray:
    """The code points of a text, ``(L,)`` uint32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
