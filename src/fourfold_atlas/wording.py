"""The words of a text as a whole, weighed together with the votes of the rules by one learned table.

``log p(cell) = b + W x + U v + const`` with ``x`` the stems that occur, scaled by ``scale / sqrt(max(n, floor))`` of
``n`` known ones, ``v`` the votes by rule and by cell, and ``b`` by the kind of text.
``tools/learn_atlas.py`` learns the table by multinomial logistic regression. No row holds a word that names a paradigm,
a person, an organisation or a catalogued system: the first would count foils, the others would be prior knowledge.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from fourfold_atlas.evidence import Cell
from fourfold_atlas.rules import cues

__all__ = ["CARD", "CELLS", "CODE", "LINE", "PLAIN", "SETTINGS", "UNIT", "Leaning", "TextKind"]
__all__ += ["leaning", "mechanism", "probabilities", "stems", "text_kind", "weights"]

CELLS = tuple(Cell)
#: weights are whole multiples of it
UNIT = 0.01
#: so many words are quoted
QUOTED = 4
#: a text of no more words is a line, not a card
LINE_WORDS = 45
#: words that every prose has
_PLAIN_TEXT = """
a an the of to in on at by for with from as and or is are was were be been it its this that these those we our you
your can will may not no than then there here which who has have had do does using used use via into over under such
also more most very all any
"""
PLAIN = frozenset(_PLAIN_TEXT.split())
_WORD = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_LINK = re.compile(r"https?://\S+|www\.\S+")


@dataclass(frozen=True)
class TextKind:
    """A kind of text, and how its words are counted.

    Attributes:
        name: its name.
        scale: of the words.
        floor: fewer known words than these are not scaled up.
        least: fewer known words than these lean to nothing.
    """

    name: str
    scale: float
    floor: int
    least: int


CARD = TextKind("card", 1.0, 40, 15)
LINE = TextKind("line", 2.0, 4, 6)
CODE = TextKind("code", 3.0, 40, 20)
SETTINGS = TextKind("settings", 3.0, 40, 6)


def text_kind(name: str) -> TextKind:
    """The kind of text of that name."""
    return {kind.name: kind for kind in (CARD, LINE, CODE, SETTINGS)}[name]


def stems(text: str) -> dict[str, tuple[int, int]]:
    """The stems that occur, each with the span of its first occurrence."""
    spans: dict[str, tuple[int, int]] = {}
    prose = cues("aside").sub(lambda aside: " " * len(aside.group()), text)
    lower = _LINK.sub(lambda link: " " * len(link.group()), _lower(prose)).replace("_", " ")
    for word in _WORD.finditer(lower):
        stem = _stem(word.group())
        if len(stem) > 1 and word.group() not in PLAIN:
            spans.setdefault(stem, word.span())
    return spans


def _lower(text: str) -> str:
    """Lower case of the same length, so that offsets stay true: a few capitals have longer lower cases."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _stem(word: str) -> str:
    for ending in ("ies", "ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word


def mechanism(rules: Mapping[str, float], scores: Mapping[Cell, float]) -> dict[str, float]:
    """The votes as features beside the words, by rule and by cell. Bounded, so that no repetition decides alone."""
    features = {f"cell:{cell}": min(score, 8.0) / 4 for cell, score in scores.items() if score > 0}
    return features | {f"rule:{rule}": max(-1.0, min(vote, 4.0)) / 2 for rule, vote in rules.items()}


@dataclass(frozen=True)
class Leaning:
    """The share of the words in one cell's log-odds, and the words that set it most apart, in the order of the text."""

    cell: Cell
    logit: float
    quotes: tuple[str, ...]
    at: int


def leaning(text: str, kind: TextKind, quotable: str = "") -> tuple[Leaning, ...]:
    """The words' share of each cell's log-odds, in nats. Empty where too few known words occur.

    Args:
        text: the words that count.
        kind: its kind.
        quotable: the text to quote at the same offsets, where it is another one.
    """
    table = weights()
    words = [(row, span) for stem, span in stems(text).items() if (row := table.get(stem))]
    if len(words) < kind.least:
        return ()
    scale = kind.scale / math.sqrt(max(len(words), kind.floor))
    return tuple(
        Leaning(cell, scale * sum(row[i] for row, _ in words), *_quotes(quotable or text, i, words))
        for i, cell in enumerate(CELLS)
    )


def _quotes(text: str, i: int, words: list[tuple[tuple[float, ...], tuple[int, int]]]) -> tuple[tuple[str, ...], int]:
    """The words that speak most for a cell, and where the first of them stands."""
    strongest = [(row[i], span) for row, span in words if row[i] == max(row)] or [(row[i], span) for row, span in words]
    spans = sorted(span for _, span in sorted(strongest, reverse=True)[:QUOTED])
    return tuple(" ".join(text[a:b].split()) for a, b in spans), spans[0][0]


def probabilities(words: Mapping[Cell, float], features: Mapping[str, float], kind: TextKind) -> dict[Cell, float]:
    """``p(cell)``, the softmax of ``b + W x + U v``.

    Args:
        words: ``W x`` by cell, up to a constant, in nats.
        features: ``v`` by the name of its feature. Features that the table lacks count nothing.
        kind: the kind of text, which chooses ``b``.
    """
    table = weights()
    logits = [words[cell] + table[f"kind:{kind.name}"][i] for i, cell in enumerate(CELLS)]
    for name, value in features.items():
        if row := table.get(name):
            logits = [logit + value * weight for logit, weight in zip(logits, row, strict=True)]
    top = max(logits)
    parts = [math.exp(logit - top) for logit in logits]
    return {cell: part / sum(parts) for cell, part in zip(CELLS, parts, strict=True)}


@lru_cache(maxsize=1)
def weights() -> dict[str, tuple[float, ...]]:
    """The learned table: by the name of a feature, its weight for each of ``CELLS``."""
    text = resources.files("fourfold_atlas").joinpath("weights.tsv").read_text(encoding="utf-8")
    lines = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return {name: tuple(int(value) * UNIT for value in values) for name, *values in lines}
