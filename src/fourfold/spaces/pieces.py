"""Pieces of words: the tokens of a byte-level tokenizer that is trained here, or of any published one."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

__all__ = ["END", "Pieces"]

END = "<|end|>"
"""The token that ends a document, in a tokenizer that is trained here."""
_ENDS = (END, "<|endoftext|>", "</s>", "<eos>", "<|end_of_text|>", "<|eot_id|>", "<end_of_turn>")
_STRIDE = 1 << 16
"""Characters that are tokenised at once: cut between lines, so that memory stays flat."""


@final
@dataclass(frozen=True, repr=False)
class Pieces:
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
            raise ValueError(f"the tokenizer is not JSON ({error}): give the content of a tokenizer.json") from None

    def __repr__(self) -> str:
        return f"Pieces({self.count:,} tokens, {self.digest})"

    @functools.cached_property
    def digest(self) -> str:
        """A short name of the tokenizer: the beginning of its SHA-256."""
        return hashlib.sha256(self.file.encode()).hexdigest()[:12]

    @classmethod
    def learn(cls, text: str, count: int) -> Self:
        """Learn a byte-level tokenizer of ``count`` tokens from a text, by byte-pair encoding.

        Every text has a code in it, since each of the 256 bytes is a token.

        Raises:
            ValueError: for fewer than 257 tokens: all bytes and the end of a document.
        """
        if count < 257:
            raise ValueError(f"bpe:{count} has fewer tokens than the 256 bytes and an end: give at least bpe:257")
        tokenizers = _library()
        made = tokenizers.Tokenizer(tokenizers.models.BPE())
        made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=count,
            special_tokens=[END],
            initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        made.train_from_iterator(_portions(text), trainer)
        return cls(made.to_str())

    @functools.cached_property
    def _tokenizer(self) -> Tokenizer:
        made = _library().Tokenizer.from_str(self.file)
        made.no_padding()
        made.no_truncation()
        made.encode_special_tokens = True
        return made

    @functools.cached_property
    def count(self) -> int:
        """The number of tokens: one more than the largest id."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    @functools.cached_property
    def end(self) -> int | None:
        """The id that ends a document; ``None`` where the tokenizer has none."""
        known = self._tokenizer.get_vocab(with_added_tokens=True)
        return next((known[name] for name in _ENDS if name in known), None)

    @functools.cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Bytes of UTF-8 that each token stands for, ``(V,)``; a special token stands for none."""
        known = self._tokenizer.get_vocab(with_added_tokens=True)
        special = {token.content for token in self._tokenizer.get_added_tokens_decoder().values() if token.special}
        alphabet = set(_library().pre_tokenizers.ByteLevel.alphabet())
        by_bytes = '"ByteLevel"' in self.file
        sizes = np.zeros(self.count, dtype=np.int64)
        for token, i in known.items():
            if token in special:
                continue
            if by_bytes and set(token) <= alphabet:
                sizes[i] = len(token)
            elif len(token) == 6 and token.startswith("<0x"):
                sizes[i] = 1
            else:
                sizes[i] = len(token.replace("\u2581", " ").encode())
        return sizes

    def ids(self, text: str) -> npt.NDArray[np.int32]:
        """The ids of a text, ``(L,)``; no special token is added, and none is read from the text.

        A text is tokenised between lines in portions, so the pieces of a portion never reach into the next.
        """
        portions = self._tokenizer.encode_batch(list(_portions(text)), add_special_tokens=False)
        ids = [np.asarray(portion.ids, dtype=np.int32) for portion in portions]
        return np.concatenate([*ids, np.empty(0, np.int32)])

    def documents(self, texts: Sequence[str]) -> Tensor:
        """The ids of documents one after the other, ``(L,)`` int32, each followed by its end."""
        import torch

        end = np.array([self.end], dtype=np.int32)
        return torch.from_numpy(np.concatenate([part for text in texts for part in (self.ids(text), end)]))

    def text(self, ids: Iterable[int]) -> str:
        """The text of ids; bytes that are not UTF-8 are replaced, ends of documents become blank lines."""
        ids = list(ids)
        parts, start = [], 0
        for at in [i for i, token in enumerate(ids) if token == self.end] + [len(ids)]:
            parts.append(self._tokenizer.decode(ids[start:at], skip_special_tokens=True))
            start = at + 1
        return "\n\n".join(parts)


def _portions(text: str) -> Iterator[str]:
    """A text in portions of about 65,536 characters, cut after a line."""
    start = 0
    while start < len(text):
        end = text.find("\n", min(start + _STRIDE, len(text))) + 1
        end = end if end > 0 else len(text)
        yield text[start:end]
        start = end


def _library() -> Any:
    """The library, imported where it is used.

    Raises:
        ValueError: where it is not installed, with the way out.
    """
    try:
        import tokenizers
    except ImportError:
        raise ValueError("pieces of words need the extra 'text': pip install 'fourfold[text]'") from None
    return tokenizers
