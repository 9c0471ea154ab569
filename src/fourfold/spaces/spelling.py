"""Texts of a column letter by letter, by counts of what follows in many rows: names, notes, postcodes, addresses."""

from __future__ import annotations

import bisect
import itertools
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import final

from fourfold.spaces.formats import SUPPORT, formats_of, places_of

__all__ = ["Spelling", "spelling_of"]

START, END = "\x02", "\x03"
LEVEL = 0xE000
"""The first of the letters that stand for a category of the row: they belong to no alphabet."""
ORDER = 6
"""Letters before one that it depends on, at most."""
LETTERS = 400_000
"""Letters that are counted, at most."""
CONTEXTS = 40_000
"""Contexts that are kept, at most: the most frequent ones."""
LONGEST = 2000
"""Letters of a text, at most."""
TRIES = 100
"""Draws until a text has one of the formats, at most."""


@final
@dataclass(frozen=True)
class Spelling:
    r"""``p(text | level) = prod_i p(letter_i | up to six letters before it, level)``, counted in many rows.

    With the counts ``n`` of ``k`` different letters behind a context of ``N`` rows, the next letter is one of these
    with probability ``N / (N + k)``, by their shares, and else depends on a shorter context (Witten, Bell 1991,
    https://doi.org/10.1109/18.87000). The level is a category of the row. Six letters with the level come before the
    same six without it, and these before five with it.

    Attributes:
        contexts: letters that precede one, ``\x02`` for the start.
        letters: for each the letters that follow, ``\x03`` for the end.
        counts: how often each does.
        formats: patterns of which every text has one, as regular expressions, with the share of texts that have it.
            Empty where there are none.
    """

    contexts: tuple[str, ...]
    letters: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    formats: tuple[tuple[str, float], ...] = ()

    @cached_property
    def _table(self) -> Mapping[str, tuple[str, list[int]]]:
        """For each context the letters behind it and the sums of their counts."""
        sums = (list(itertools.accumulate(counts)) for counts in self.counts)
        return dict(zip(self.contexts, zip(self.letters, sums, strict=True), strict=True))

    @cached_property
    def _format(self) -> re.Pattern[str] | None:
        return re.compile("|".join(f"(?:{form})" for form, _ in self.formats)) if self.formats else None

    def draw(self, seed: int, level: int | None = None) -> str:
        """A text of a format, by the seed. It is empty only where texts of the data are."""
        generator, mark = random.Random(seed), _mark(level)
        for _ in range(TRIES):
            text = self._draw(generator, mark)
            if not text and END not in self._table.get(START, ("", []))[0]:
                continue
            if self._format is None or not text or self._format.fullmatch(text):
                return text
            if all("+" not in form.replace("\\+", "") for form, _ in self.formats):
                return self._fill(generator, mark)
        return ""

    def _fill(self, generator: random.Random, mark: str) -> str:
        """A text of one of the formats, whose lengths are fixed: each letter is drawn among those of its place."""
        forms, shares = zip(*self.formats, strict=True)
        text = START
        for letters in places_of(generator.choices(forms, shares)[0]):
            text += letters if len(letters) == 1 else self._letter_of(generator, text, mark, letters)
        return text[1:]

    def _letter_of(self, generator: random.Random, text: str, mark: str, letters: str) -> str:
        """The next letter, if it is one of these, in some draws. Else one of them by chance."""
        letters_of_draws = (self._next(generator, text, mark) for _ in range(TRIES // 5))
        return next((letter for letter in letters_of_draws if letter in letters), None) or generator.choice(letters)

    def _draw(self, generator: random.Random, mark: str) -> str:
        text = START
        while len(text) <= LONGEST and (letter := self._next(generator, text, mark)) != END:
            text += letter
        return text[1:]

    def _next(self, generator: random.Random, text: str, mark: str) -> str:
        """The next letter: of the longest context that is counted, or by chance of a shorter one."""
        for context in _behind(text, mark):
            if (entry := self._table.get(context)) is not None:
                letters, sums = entry
                place = generator.random() * (sums[-1] + (len(letters) if context else 0))
                if place < sums[-1]:
                    return letters[bisect.bisect_right(sums, place)]
        return END

    def log_prob(self, text: str, level: int | None = None) -> float:
        """``log p(text)`` without formats, in nats. ``-inf`` for a letter that no text has."""
        total, prefix = 0.0, START
        for letter in text + END:
            p = self._mass(letter, prefix, _mark(level))
            total += math.log(p) if p > 0 else -math.inf
            prefix += letter
        return total

    def _mass(self, letter: str, text: str, mark: str) -> float:
        mass = 0.0
        for context in reversed([*_behind(text, mark)]):
            if (entry := self._table.get(context)) is not None:
                letters, sums = entry
                at = letters.find(letter)
                count = 0 if at < 0 else sums[at] - (sums[at - 1] if at else 0)
                spare = len(letters) if context else 0
                mass = (count + spare * mass) / (sums[-1] + spare)
        return mass


def _mark(level: int | None) -> str:
    """The letter that stands for a level, none for no level."""
    return "" if level is None else chr(LEVEL + level)


def _behind(text: str, mark: str) -> Iterator[str]:
    """The contexts of the next letter, the longest first, each with the mark of the level before the one without."""
    for width in range(min(ORDER, len(text)), -1, -1):
        context = text[len(text) - width :]
        if mark:
            yield mark + context
        yield context


def spelling_of(texts: Iterable[str], levels: Iterable[int | None]) -> Spelling | None:
    """Count texts, the empty one included, each with the level of its row. ``None`` for too few rows.

    Of very many, :data:`LETTERS` letters are counted. Contexts of fewer than :data:`SUPPORT` rows are left out.
    """
    follow: dict[str, Counter[str]] = defaultdict(Counter)
    rows: Counter[str] = Counter()
    letters, sample = 0, []
    for text, level in zip(texts, levels, strict=True):
        if letters > LETTERS:
            break
        letters += len(text) + 1
        sample.append(text)
        here = set()
        for context, letter in _contexts(text[:LONGEST], level):
            follow[context][letter] += 1
            here.add(context)
        rows.update(here)
    contexts = sorted((c for c, n in rows.items() if n >= SUPPORT), key=lambda c: (-rows[c], len(c), c))[:CONTEXTS]
    if "" not in contexts:
        return None
    counts = [follow[context].most_common() for context in contexts]
    return Spelling(
        tuple(contexts),
        tuple("".join(letter for letter, _ in part) for part in counts),
        tuple(tuple(count for _, count in part) for part in counts),
        formats_of([text for text in sample if text]),
    )


def _contexts(text: str, level: int | None) -> Iterator[tuple[str, str]]:
    """Each letter with the contexts before it, with and without the level."""
    mark, whole = _mark(level), START + text
    for i, letter in enumerate(text + END, 1):
        yield from ((context, letter) for context in _behind(whole[max(i - ORDER, 0) : i], mark))
