"""Words that may come next, as a phone's keyboard offers them: masses of words, whatever the tokens of the model."""

from __future__ import annotations

import bisect
import heapq
import math
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.baselines import KneserNey
from fourfold.core import GenerativeModel
from fourfold.spaces import Text
from fourfold.tasks.language import text_parts
from fourfold.tasks.search import Paths, beam_search

__all__ = ["Completer", "Saved", "keystrokes", "words_of"]

_LETTER = rb"[A-Za-z0-9'\x80-\xff]"
_LETTERS = bytes(byte for byte in range(256) if re.match(_LETTER, bytes([byte])))
_HEAD = re.compile(rb"%s*" % _LETTER)
_BLANK = b" \t\r\n"
LONGEST = 24
"""Tokens of a word, at most."""

Masses: TypeAlias = npt.NDArray[np.float64]


class _Context(NamedTuple):
    """The text so far: its tokens, the cache that holds them, the masses of the next token, and of each letter."""

    ids: list[int]
    cache: Any
    masses: Masses
    shares: list[float]


@final
class _Tokens:
    """The bytes of every token, and its role at the start of a word and within one.

    The head of a token is what still belongs to the word. A token ends the word where something follows its head.
    """

    def __init__(self, space: Text) -> None:
        self.bytes = space.token_bytes()
        self.order = sorted(range(len(self.bytes)), key=self.bytes.__getitem__)
        self.sorted = [self.bytes[i] for i in self.order]
        self.within = _Heads(self.bytes)
        self.before = _Heads([token.lstrip(_BLANK) for token in self.bytes])
        self.before.blank = np.array([bool(token) and not token.strip(_BLANK) for token in self.bytes])

    def beginning_with(self, start: bytes) -> list[int]:
        """The tokens that begin with some bytes."""
        first = bisect.bisect_left(self.sorted, start)
        last = bisect.bisect_left(self.sorted, start + b"\xff" * 8)
        return [i for i in self.order[first:last] if self.bytes[i].startswith(start)]

    def beginnings_of(self, whole: bytes) -> list[int]:
        """The tokens that some bytes begin with and go on after."""
        tokens = []
        for length in range(1, len(whole)):
            at = bisect.bisect_left(self.sorted, whole[:length])
            while at < len(self.sorted) and self.sorted[at] == whole[:length]:
                tokens.append(self.order[at])
                at += 1
        return tokens


@final
class _Heads:
    """The heads of tokens, numbered: which tokens end a word, and which go on with it."""

    def __init__(self, tokens: list[bytes]) -> None:
        heads = [_head(token) for token in tokens]
        self.names = sorted(set(heads))
        number = {name: i for i, name in enumerate(self.names)}
        self.number = np.array([number[head] for head in heads])
        self.goes_on = np.array([head == token and len(token) > 0 for head, token in zip(heads, tokens, strict=True)])
        self.blank = np.zeros(len(tokens), dtype=bool)
        self._ends = np.flatnonzero(~self.goes_on)

    def word_ends(self, masses: Masses) -> Iterable[tuple[bytes, float]]:
        """The heads that end a word and the mass of each, without those that have next to none."""
        sums = np.bincount(self.number[self._ends], masses[self._ends], len(self.names))
        for i in np.flatnonzero(sums > 1e-6 * masses.sum()):
            yield self.names[i], float(sums[i])


def _head(token: bytes) -> bytes:
    """The letters at the beginning of a token."""
    match = _HEAD.match(token)
    assert match is not None
    return match[0]


@final
class Completer:
    """The likeliest next words given a text and the letters of the word that has begun.

    ``p(w | text)`` is the mass of all token sequences that spell ``w`` and then something that ends a word, over all
    tokenisations. Sequences of up to 24 tokens are followed by falling mass, ``beams`` at a time: with as many as there
    are, and without tolerance, the sum is exact but for ends of words that have less than a millionth of the mass.

    Args:
        model: of text, drawn token by token, or counted n-grams.
        beams: sequences that are followed at once.
        tolerance: the search ends when what it still follows has less than this share of the mass that it has found.

    Raises:
        TypeError: for another model.
    """

    def __init__(self, model: GenerativeModel | KneserNey, beams: int = 12, tolerance: float = 0.05) -> None:
        self.space, self._net, self._device = _network(model)
        self.beams, self.tolerance, self._longest = beams, tolerance, min(LONGEST, self._net.length // 2)
        self._tokens = _Tokens(self.space)
        self._context: _Context | None = None

    def suggest(self, text: str, k: int = 3) -> list[tuple[str, float]]:
        """The ``k`` likeliest words, whole, each with its mass among those that the search found.

        Args:
            text: the text so far. Letters at its end begin the word. Without any, the next word is meant.
            k: number of words.
        """
        masses = self.masses(text, k)
        total = sum(masses.values())
        best = heapq.nlargest(k, masses.items(), key=lambda item: (item[1], item[0]))
        return [(word.decode(errors="replace"), mass / total) for word, mass in best]

    def following(self, text: str, k: int = 3) -> list[tuple[str, float]]:
        """The ``k`` likeliest words after a text, which may end with a whole word, as :meth:`suggest` gives them.

        Letters at the end are a whole word where it has more mass than all others that begin so, then the next word is
        meant. Otherwise they begin the word.
        """
        words, typed = self.suggest(text, k), _typed(text.encode()).decode()
        is_word = bool(typed and words) and words[0][0] == typed and words[0][1] > 0.5
        return self.suggest(f"{text} ", k) if is_word else words

    @torch.inference_mode()
    def masses(self, text: str, count: int | None = None) -> dict[bytes, float]:
        """``p(w | text before the word)`` of every word of the search that agrees with the letters typed.

        With a ``count`` of words, and some tolerance, the search drops a sequence when so many words have its mass.
        """
        content = text.encode()
        typed = _typed(content)
        before = content[: len(content) - len(typed)].decode()
        letters, lead = "", ""
        if self.space.tokenizer is None:  # letters have one spelling, so they are a part of the text
            letters = typed.decode()
            if len(typed) >= self._longest or not set(letters) <= set(self.space.vocabulary or letters):
                return {}
        elif typed and before.endswith(" "):  # a token holds the space before its word
            before, lead = before[:-1], " "
        elif not typed:
            before = before.rstrip(" ")
        return self._search(before, letters, lead.encode(), typed, count)

    def _search(self, before: str, letters: str, lead: bytes, typed: bytes, count: int | None) -> dict[bytes, float]:
        cache, masses, mass = self._after(before, letters)
        words = _Words(self, cache, masses, mass, letters.encode(), lead, typed, count)
        beam_search(words, self.beams, self._longest - len(letters.encode()))
        return words.masses

    # --- the network --------------------------------------------------------------------------------------------------

    def _after(self, before: str, letters: str) -> tuple[Any, Masses, float]:
        """The cache after a text and letters, the masses of the next token, ``(1, V)``, and the mass of the letters.

        The last text is remembered, so that one more letter costs one evaluation.
        """
        parts = self._recent(before), letters
        ids, spelled = ([*self.space.parse(part).tolist()] if part else [] for part in parts)
        ids = ids[len(ids) - self._context_length(len(ids)) :]
        context = self._context
        if context is None or context.ids != (ids + spelled)[: len(context.ids)]:
            cache = self._net.cache(1)
            context = _Context(ids, cache, self._fed([self._net.tokens, *ids], cache), [1.0] * len(ids))
        elif new := ids[len(context.ids) :]:
            context = _Context(ids, context.cache, self._fed(new, context.cache), context.shares + [1.0] * len(new))
        for token in spelled[len(context.ids) - len(ids) :]:
            shares = [*context.shares, float(context.masses[0, token])]
            context = _Context([*context.ids, token], context.cache, self._fed([token], context.cache), shares)
        self._context = context
        return context.cache, context.masses, math.prod(context.shares[len(ids) :])

    def _fed(self, ids: list[int], cache: Any) -> Masses:
        """The masses of the token after more of the text, ``(1, V)``."""
        return self._masses(torch.tensor([ids], device=self._device), cache)

    def _recent(self, text: str) -> str:
        """The end of a text, from a blank on if one is near: all of a long text would be tokenised at every letter."""
        stride = 8 * self._net.length
        start = (len(text) // stride - 1) * stride
        return text if start <= 0 else text[max(text.find(" ", start, start + stride // 2), start) :]

    def _context_length(self, count: int) -> int:
        """The number of the newest tokens of a text that are the context of a word: all, or half a window and more."""
        room = self._net.length - self._longest - 1
        return count if count <= room else room // 2 + (count - room) % (room - room // 2)

    def _masses(self, ids: Tensor, cache: Any) -> Masses:
        """Masses of the token after each row of ids, ``(B, V)`` float64. The cache advances."""
        logits = self._net(ids, cache)[:, -1, : len(self._tokens.bytes)]
        return logits.double().softmax(1).cpu().numpy()


@final
class _Words(Paths):
    """Unfinished words: the bytes and the mass of each, and the masses of the next token, and the finished words.

    Attributes:
        masses: of the finished words.
    """

    def __init__(
        self,
        completer: Completer,
        cache: Any,
        next_masses: Masses,
        mass: float,
        letters: bytes,
        lead: bytes,
        typed: bytes,
        count: int | None,
    ) -> None:
        self.completer, self.tokens = completer, completer._tokens
        self.cache, self.next_masses = cache, next_masses
        self.spellings, self.mass = [letters], np.array([mass])
        self.lead, self.typed, self.count = lead, typed, count
        self.masses: dict[bytes, float] = defaultdict(float)

    def scores(self) -> Tensor:
        """Logarithms of masses."""
        masses = self.next_masses * self.mass[:, None]
        for row, spelling in zip(masses, self.spellings, strict=True):
            rest = (self.lead + self.typed)[len(spelling) :]
            row *= self._spelled(row, spelling, rest) if rest else self._continued(row, spelling)
        with np.errstate(divide="ignore"):
            return torch.from_numpy(np.log(masses))

    def _continued(self, row: Masses, spelling: bytes) -> npt.NDArray[np.bool_]:
        """The tokens that go on with a word. The others finish it."""
        word = spelling[len(self.lead) :] if self.typed else spelling.lstrip(_BLANK)
        heads = self.tokens.within if word else self.tokens.before
        for head, mass in heads.word_ends(row):
            if word + head:
                self.masses[word + head] += mass
        return heads.goes_on if word else heads.goes_on | heads.blank

    def _spelled(self, row: Masses, spelling: bytes, rest: bytes) -> npt.NDArray[np.bool_]:
        """The tokens that agree with the typed letters which are not spelled yet, and finish no word."""
        agree = np.zeros(len(row), dtype=bool)
        agree[self.tokens.beginnings_of(rest)] = True
        for token in self.tokens.beginning_with(rest):
            after = self.tokens.bytes[token][len(rest) :]
            head = _head(after)
            agree[token] = head == after
            if head != after:
                self.masses[(spelling + rest)[len(self.lead) :] + head] += float(row[token])
        return agree

    def promising(self, scores: Tensor) -> int:
        masses = scores.exp()
        best = heapq.nlargest(self.count or 0, self.masses.values())
        tolerance = self.completer.tolerance
        least = best[-1] if tolerance > 0 and best and len(best) == self.count else 0.0
        count = int((masses > least).sum())
        return 0 if float(masses[:count].sum()) <= tolerance * sum(self.masses.values()) else count

    def follow(self, rows: Tensor, tokens: Tensor, scores: Tensor) -> None:
        pairs = zip(rows.tolist(), tokens.tolist(), strict=True)
        self.spellings = [self.spellings[row] + self.tokens.bytes[token] for row, token in pairs]
        self.mass = scores.exp().numpy()
        device = self.completer._device
        self.cache = self.cache.select(rows.to(device))
        self.next_masses = self.completer._masses(tokens[:, None].to(device), self.cache)


@final
class _Counted:
    """Counted n-grams in the seat of a network: its cache is the text so far."""

    def __init__(self, ngrams: KneserNey) -> None:
        self.ngrams, self.tokens, self.length = ngrams, ngrams.tokens, 1 << 20

    def cache(self, batch: int) -> _Written:
        return _Written(torch.zeros(batch, 0, dtype=torch.long))

    def __call__(self, ids: Tensor, cache: _Written) -> Tensor:
        """Logits of the token after each row, ``(B, 1, V)``. Start symbols are not part of the text."""
        cache.ids = torch.cat([cache.ids, ids[:, int(ids[0, 0] == self.tokens) :]], 1)
        return self.ngrams.next_masses(cache.ids).log()[:, None]


@final
@dataclass
class _Written:
    """The text so far, ``(B, T)``."""

    ids: Tensor

    def select(self, rows: Tensor) -> _Written:
        return _Written(self.ids[rows])


def _network(model: GenerativeModel | KneserNey) -> tuple[Text, Any, torch.device]:
    """Space, network of next-token logits, and device."""
    if isinstance(model, KneserNey):
        return model.space, _Counted(model), torch.device("cpu")
    space, estimand = text_parts(model)
    return space, estimand.net, model.device


def _typed(content: bytes) -> bytes:
    """The letters at the end of a text."""
    return content[len(content.rstrip(_LETTERS)) :]


# --- how much a keyboard saves ----------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Saved:
    """The keystrokes that a keyboard with three suggestions saves on a text.

    Attributes:
        saved: share of keystrokes. A word costs its letters and a space, or, once it is offered, the letters typed so
            far and one touch.
        top1, top3: share of words that were first, or among the three, before a letter was typed.
        p95: seconds that 95 % of the suggestions took at most.
        words: number of words.
    """

    saved: float
    top1: float
    top3: float
    p95: float
    words: int


def words_of(text: str) -> list[tuple[int, str]]:
    """The words of a text that a blank ends or begins, each with the place where it begins."""
    pattern = rb"(?<=[ \t\r\n])%s+" % _LETTER
    content = text.encode()
    return [(len(content[: m.start()].decode()), m[0].decode()) for m in re.finditer(pattern, content)]


def keystrokes(
    suggest: Callable[[str], list[str]], text: str, most: int = 200, clock: Callable[[], float] | None = None
) -> Saved:
    """Type the first words of a text with a keyboard that offers up to three words at each letter.

    Args:
        suggest: the offers for what was written so far.
        text: held-out text.
        most: number of words.
        clock: seconds, for the latency.

    Raises:
        ValueError: for a text without words.
    """
    now = clock or time.perf_counter
    words = words_of(text)[:most]
    if not words:
        raise ValueError("the text must have at least one word to type, got none: give a longer one")
    typed = total = first = three = 0
    laps: list[float] = []
    for start, word in words:
        total += len(word) + 1
        cost = len(word) + 1
        for letters in range(len(word)):
            lap = now()
            offers = suggest(text[:start] + word[:letters])
            laps.append(now() - lap)
            if letters == 0:
                first, three = first + (offers[:1] == [word]), three + (word in offers[:3])
            if word in offers[:3]:
                cost = letters + 1
                break
        typed += cost
    p95 = sorted(laps)[math.ceil(0.95 * len(laps)) - 1]
    return Saved(1 - typed / total, first / len(words), three / len(words), p95, len(words))
