"""Tokens of captions: the commonest words of the training captions, and single bytes for everything else."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from fourfold.core import Part

__all__ = ["CaptionWords"]

_WORD = re.compile(rb"[\w'\x80-\xff-]+")
_REMEMBERED = 100_000
"""The most captions whose tokens are remembered."""


@final
class CaptionWords(Part, nn.Module):
    """A vocabulary of 256 bytes, the end of a caption, and ``count`` words that are counted before training.

    A word stands for its bytes and the blank before it. As the first token it stands for its bytes alone. Each caption
    is cut in one way, and the tokens spell its bytes.

    Args:
        count: the most words. Captions without a common word are spelled.
    """

    END: ClassVar[int] = 256
    LONGEST: ClassVar[int] = 24
    """The most bytes of a word."""

    table: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.size = self.END + 1 + count
        self.register_buffer("table", torch.full((count, self.LONGEST), -1, dtype=torch.int16))
        self._ids: tuple[Tensor, int, Mapping[bytes, int]] | None = None
        self._remembered: dict[bytes, list[int]] = {}

    def learn(self, cond: Tensor) -> None:
        """Take the words that most captions ``(B, L)`` have, and at least two of them."""
        captions = Counter(bytes(code for code in row if code >= 0) for row in cond.tolist())
        counts: Counter[bytes] = Counter()
        for caption, n in captions.items():
            counts.update(dict.fromkeys(_WORD.findall(caption), n))
        fits = [word for word, n in counts.items() if n > 1 and 1 < len(word) <= self.LONGEST]
        common = sorted(fits, key=lambda word: (-counts[word], word))[: len(self.table)]
        rows = [list(word) + [-1] * (self.LONGEST - len(word)) for word in common]
        self.table.fill_(-1)
        if rows:
            self.table[: len(rows)] = torch.tensor(rows, dtype=torch.int16)

    def encode(self, cond: Tensor) -> Tensor:
        """Tokens ``(B, N)`` of the bytes of captions ``(B, L)``, both padded with -1. ``N`` is the most of any row."""
        rows = [self._tokens(bytes(code for code in row if code >= 0)) for row in cond.tolist()]
        most = max(map(len, rows), default=0)
        padded = [row + [-1] * (most - len(row)) for row in rows]
        return torch.tensor(padded, dtype=torch.long, device=cond.device).view(len(rows), most)

    def decode(self, tokens: Tensor, length: int) -> Tensor:
        """The first ``length`` bytes of the text that tokens ``(B, N)`` spell, ``(B, length)``, both padded with -1."""
        words = {i: word for word, i in self._ids_of_words().items()}
        codes = torch.full((len(tokens), length), -1)
        for i, row in enumerate(tokens.tolist()):
            spelled = b""
            for token in row:
                if token in words:
                    spelled += (b" " if spelled else b"") + words[token]
                elif 0 <= token < self.END:
                    spelled += bytes([token])
            spelled = spelled[:length]
            codes[i, : len(spelled)] = torch.tensor(list(spelled), dtype=torch.long)
        return codes.to(tokens.device)

    def _ids_of_words(self) -> Mapping[bytes, int]:
        """The id of each word."""
        if self._ids is None or self._ids[0] is not self.table or self._ids[1] != self.table._version:
            words = (bytes(code for code in row if code >= 0) for row in self.table.tolist())
            ids = {word: self.END + 1 + i for i, word in enumerate(words) if word}
            self._ids, self._remembered = (self.table, self.table._version, ids), {}
        return self._ids[2]

    def _tokens(self, caption: bytes) -> list[int]:
        ids = self._ids_of_words()
        tokens = self._remembered.get(caption)
        if tokens is None:
            tokens, at = [], 0
            for match in _WORD.finditer(caption):
                start = match.start()
                blank = start > 1 and caption[start - 1 : start] == b" "
                if match.group() in ids and (start == 0 or blank):
                    tokens += [*caption[at : start - blank], ids[match.group()]]
                    at = match.end()
            tokens += caption[at:]
            if len(self._remembered) < _REMEMBERED:
                self._remembered[caption] = tokens
        return tokens
