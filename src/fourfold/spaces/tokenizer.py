"""Tokenizers of texts: a byte-level tokenizer that is trained here, or any published one."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from tokenizers import Tokenizer as LibraryTokenizer

__all__ = ["END", "Tokenizer", "letters_of_bytes", "portions"]

END = "<|end|>"
"""The token that ends a document, in a tokenizer that is trained here."""
_ENDS = (END, "<|endoftext|>", "</s>", "<eos>", "<|end_of_text|>", "<|eot_id|>", "<end_of_turn>", "<|im_end|>")
WORD = 256
"""The most characters of a word that a tokenizer learns from. Longer ones, as in DNA, are cut."""
_STRIDE, _LONGEST = 1 << 16, 1 << 20
"""Characters of a portion that is tokenised at once, up to the next line, and the most, where lines are long."""


@final
@dataclass(frozen=True, repr=False)
class Tokenizer:
    """A tokenizer of Hugging Face's library ``tokenizers``, as the text of its file.

    Attributes:
        file: the content of a ``tokenizer.json``.

    Reference: Sennrich, Haddow, Birch 2016, Neural Machine Translation of Rare Words with Subword Units,
    https://arxiv.org/abs/1508.07909
    """

    file: str

    def __post_init__(self) -> None:
        try:
            json.loads(self.file)
        except ValueError as error:
            raise ValueError(
                f"tokenizer must be the content of a tokenizer.json, got what is no JSON: {error}"
            ) from None

    def __repr__(self) -> str:
        return f"Tokenizer({self.count:,} tokens, {self.digest})"

    @functools.cached_property
    def digest(self) -> str:
        """A short name of the tokenizer: the prefix of its SHA-256."""
        return hashlib.sha256(self.file.encode()).hexdigest()[:12]

    @classmethod
    def learn(cls, text: str | Iterable[str], count: int) -> Self:
        """Learn a byte-level tokenizer of ``count`` tokens from a text, or its parts in order, by byte-pair encoding.

        Every text has a code in it, since each of the 256 bytes is a token.

        Raises:
            ValueError: for fewer than 257 tokens: all bytes and the end of a document.
        """
        if count < 257:
            raise ValueError(f"tokens must be bpe:257 or more, for 256 bytes and an end, got bpe:{count}")
        tokenizers = _library()
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=count,
            special_tokens=[END],
            initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(_short_words(portions([text] if isinstance(text, str) else text)), trainer)
        return cls(tokenizer.to_str())

    @functools.cached_property
    def _tokenizer(self) -> LibraryTokenizer:
        tokenizer = _library().Tokenizer.from_str(self.file)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        return tokenizer

    @functools.cached_property
    def count(self) -> int:
        """The number of tokens: one more than the largest id."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    @functools.cached_property
    def ends(self) -> tuple[int, ...]:
        """The ids that end a document or a turn. Where some are special tokens, ``</s>`` may be a tag of HTML."""
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        special = {i for i, token in self._tokenizer.get_added_tokens_decoder().items() if token.special}
        ids = [vocabulary[name] for name in _ENDS if name in vocabulary]
        return tuple(i for i in ids if i in special) or tuple(ids)

    @property
    def end(self) -> int | None:
        """The id that ends a document. ``None`` where the tokenizer has none."""
        return self.ends[0] if self.ends else None

    @functools.cached_property
    def added(self) -> frozenset[int]:
        """The ids that were added to the vocabulary as whole tokens: special ones, and others."""
        return frozenset(self._tokenizer.get_added_tokens_decoder())

    def name(self, token: int) -> str:
        """The name of a token in the tokenizer's file."""
        return str(self._tokenizer.id_to_token(token))

    def marked_ids(self, text: str) -> list[int]:
        """The ids of a text in which special tokens are written out, such as a chat template."""
        self._tokenizer.encode_special_tokens = False
        try:
            return list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        finally:
            self._tokenizer.encode_special_tokens = True

    @functools.cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Bytes of UTF-8 that each token stands for, ``(V,)``. A special token stands for none."""
        return np.array([len(token) for token in self.token_bytes()], dtype=np.int64)

    def token_bytes(self) -> list[bytes]:
        """The bytes of UTF-8 that each token stands for. None for a special token."""
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        special = {token.content for token in self._tokenizer.get_added_tokens_decoder().values() if token.special}
        byte_level = '"ByteLevel"' in self.file
        letters = {letter: byte for byte, letter in enumerate(letters_of_bytes())} if byte_level else {}
        contents = [b""] * self.count
        for token, i in vocabulary.items():
            if token in special:
                continue
            if letters and all(letter in letters for letter in token):
                contents[i] = bytes(letters[letter] for letter in token)
            elif match := re.fullmatch(r"<0x([0-9A-F]{2})>", token):
                contents[i] = bytes.fromhex(match[1])
            else:
                contents[i] = token.replace("\u2581", " ").encode()
        return contents

    def ids(self, text: str) -> npt.NDArray[np.int32]:
        """The ids of a text, ``(L,)``. No special token is added, and none is read from the text.

        A text is tokenised between lines in portions, so no token of a portion reaches into the next.
        """
        return self._ids_of_parts(portions([text]))

    def documents(self, texts: Iterable[str]) -> npt.NDArray[np.int32]:
        """The ids of documents one after the other, ``(L,)``, each followed by its end."""
        return self._ids_of_parts(part for text in texts for part in (*portions([text]), None))

    def _ids_of_parts(self, parts: Iterable[str | None]) -> npt.NDArray[np.int32]:
        """The ids of parts one after the other. ``None`` stands for the end of a document."""
        items = list(parts)
        encoded = iter(self._tokenizer.encode_batch([p for p in items if p is not None], add_special_tokens=False))
        ids = [np.array([self.end] if p is None else next(encoded).ids, dtype=np.int32) for p in items]
        return np.concatenate([*ids, np.empty(0, np.int32)])

    def text(self, ids: Iterable[int]) -> str:
        """The text of ids. Bytes that are not UTF-8 are replaced, ends of documents become blank lines."""
        ids = list(ids)
        parts, start = [], 0
        for at in [i for i, token in enumerate(ids) if token == self.end] + [len(ids)]:
            parts.append(self._tokenizer.decode(ids[start:at], skip_special_tokens=True))
            start = at + 1
        return "\n\n".join(parts)


def letters_of_bytes() -> list[str]:
    """The letter that byte-level tokenizers write for each byte, in order.

    Printable bytes stand for themselves, the others follow from code point 256 on.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    code_points = itertools.count(256)
    return [chr(byte if byte in printable else next(code_points)) for byte in range(256)]


def portions(parts: Iterable[str]) -> Iterator[str]:
    """A text, given in parts, in portions of about 65,536 characters that end with a line.

    Where a line goes on for a million characters, it is cut after a blank.
    """
    rest, offset = "", _STRIDE
    for part in itertools.chain(parts, [None]):
        rest += part or ""
        start = 0
        while True:
            end = rest.find("\n", start + offset) + 1
            if not end and len(rest) - start >= _LONGEST:
                end = rest.rfind(" ", start + 1, start + _LONGEST) + 1 or start + _LONGEST
            if not end:
                break
            yield rest[start:end]
            start, offset = end, _STRIDE
        rest = rest[start:]
        offset = max(_STRIDE, len(rest))  # what is held has no end of a line behind the stride
    if rest:
        yield rest


def _short_words(parts: Iterable[str]) -> Iterator[str]:
    """A text in parts without a word of more than :data:`WORD` characters, since learning takes the square of these."""
    for part in parts:
        start = 0
        for match in re.finditer(rf"\S{{{WORD}}}", part):
            yield part[start : match.end()]
            start = match.end()
        yield part[start:]


def _library() -> Any:
    """The library, imported where it is used.

    Raises:
        ValueError: where it is not installed, with the way out.
    """
    try:
        import tokenizers  # an optional library
    except ImportError:
        raise ValueError("tokenizers must be installed for subwords: pip install '.[text]' in its clone") from None
    return tokenizers
