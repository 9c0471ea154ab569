"""What a text's wording as a whole leans to, weighed together with what its phrases or statements say.

``log p(cell) = b + W x + U v + const`` with ``x`` the words, pairs and (in some tables) runs of letters that occur, each group scaled by
``scale / sqrt(max(n, floor))`` of ``n`` known ones, and ``v`` what was stated, by phrase, claim and cell. Cards, single sentences and code are
worded unlike each other, so each has its own table; ``benchmarks/wording.py`` learned all three, from texts labelled by hand and words rated by hand. No row
holds a word that names a paradigm, a person, an organisation or a catalogued system: the first would count foils, the others would be prior knowledge.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from fourfold.atlas.evidence import MEANING, Aspect, Cell, Claim, Evidence
from fourfold.atlas.words_table import ASIDE

__all__ = [
    "BIAS",
    "CELLS",
    "CODE",
    "FADE",
    "PHRASE",
    "PROSE",
    "Leaning",
    "Table",
    "features",
    "leaning",
    "mechanism",
    "probabilities",
    "table_of",
    "wording",
]

CELLS = tuple(Cell)
#: the row of ``b``: no word has a colon at its head
BIAS = ":bias"
#: each repetition counts so much of the one before
FADE = 0.6
#: a word among the first counts once more, as the title's
TITLE_WORDS = 30
#: so many are quoted
QUOTED = 4
#: a text of no more words is a phrase or two, not a card
PHRASE_WORDS = 45
#: words that every prose has; pairs reach over them
_PLAIN_TEXT = """
a an the of to in on at by for with from as and or is are was were be been it its this that these those we our you your can
will may not no than then there here which who has have had do does using used use via into over under such also more most
very all any
"""
_PLAIN = frozenset(_PLAIN_TEXT.split())
_WORD = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*|__+")
_LINK = re.compile(r"https?://\S+|www\.\S+")
_BLANK = re.compile(r"_{3,}")
_STOP = re.compile(r"[.;:!?\n]\s")
_TOKEN = re.compile(r"[a-z_][a-z0-9_]*")
_LETTERS = (3, 4, 5)


@dataclass(frozen=True)
class Table:
    """One kind of text and how its words are counted.

    Attributes:
        name: its file is ``<name>.tsv``.
        scale: of each group of features.
        floor: fewer known features than these are not scaled up.
        least: fewer known words than these, pairs not counted, lean to nothing.
        letters: whether runs of letters within words count as well, so that a word never seen resembles others.
        unit: the file holds whole multiples of it.
    """

    name: str
    scale: float
    floor: int
    least: int
    letters: bool
    unit: float


PROSE = Table("wording", 1.0, 40, 15, letters=False, unit=0.01)
PHRASE = Table("phrasing", 4.0, 4, 6, letters=True, unit=0.001)
CODE = Table("coding", 6.0, 40, 20, letters=True, unit=0.001)
_TABLES = {table.name: table for table in (PROSE, PHRASE, CODE)}


def table_of(name: str) -> Table:
    """The table of that name."""
    return _TABLES[name]


def features(text: str, table: Table) -> dict[str, tuple[int, int]]:
    """What of a text counts in a table: ``wording``, and ``l:`` runs of letters for tables that have them, with spans (empty for letters)."""
    found = wording(text)
    if not table.letters:
        return found
    found = {word: span for word, span in found.items() if not word.startswith("t:")}
    for token in set(_TOKEN.findall(_lower(text))):
        found |= dict.fromkeys(_runs(token), (0, 0))
    return found


@lru_cache(maxsize=20_000)
def _runs(token: str) -> tuple[str, ...]:
    marked = f"<{token[:40]}>"
    return tuple({f"l:{marked[i : i + n]}" for n in _LETTERS for i in range(len(marked) - n + 1)})


def wording(text: str) -> dict[str, tuple[int, int]]:
    """The stems that occur, pairs of neighbours, and ``t:`` stems of the title, each with the span of its first occurrence."""
    found: dict[str, tuple[int, int]] = {}
    prose = re.sub(ASIDE, lambda aside: " " * len(aside.group()), text, flags=re.M)
    lower = _LINK.sub(lambda link: " " * len(link.group()), _lower(prose))
    lower = (
        _BLANK.sub(lambda gap: "\0" * len(gap.group()), lower).replace("_", " ").replace("/", " ").replace("\0", "_")
    )
    count, at, begun = 0, 0, 0
    for sentence in [*_STOP.finditer(lower), None]:
        end = sentence.start() + 1 if sentence else len(lower)
        before = ""
        for word in _WORD.finditer(lower, at, end):
            if word.group() in _PLAIN:
                continue
            stem = _stem(word.group())
            count += 1
            if stem.startswith("_"):
                before = ""
                continue
            if len(stem) > 1:
                found.setdefault(stem, word.span())
                if count <= TITLE_WORDS:
                    found.setdefault("t:" + stem, word.span())
            if before:
                found.setdefault(f"{before} {stem}", (begun, word.end()))
            before, begun = stem, word.start()
        at = sentence.end() if sentence else end
    return found


def _lower(text: str) -> str:
    """Lower case of the same length, so that offsets stay true: a few capitals have longer lower cases."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _stem(word: str) -> str:
    for ending in ("ies", "ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word


def mechanism(
    rows: Iterable[Evidence], votes: Mapping[Claim, float], scores: Mapping[Cell, float], enough: float
) -> dict[str, float]:
    """What was stated as features beside the words: by phrase, claim and cell; bounded, so that no repetition decides alone."""
    found = {f"claim:{claim.value}": min(vote, 6.0) / 4 for claim, vote in votes.items() if vote > 0 and _speaks(claim)}
    found |= {f"cell:{cell.value}": min(score, 8.0) / 4 for cell, score in scores.items() if score > 0}
    found |= {f"rule:{rule}": max(-1.0, min(vote, 4.0)) / 2 for rule, vote in _by_rule(rows).items()}
    best = max(scores, key=lambda cell: scores[cell])
    if scores[best] >= enough:
        found[f"top:{best.value}"] = 0.5
    return found


def _by_rule(rows: Iterable[Evidence]) -> dict[str, float]:
    weights: dict[str, list[float]] = {}
    for row in rows:
        if row.rule and _speaks(row.claim):
            weights.setdefault(row.rule, []).append(row.weight)
    return {
        rule: sum(weight * FADE**k for k, weight in enumerate(sorted(group, reverse=True)))
        for rule, group in weights.items()
    }


def _speaks(claim: Claim) -> bool:
    return MEANING[claim].aspect is not Aspect.WORDING


@dataclass(frozen=True)
class Leaning:
    """What the words add to one cell's log-odds, and the words that set it most apart, in the order of the text."""

    cell: Cell
    logit: float
    quotes: tuple[str, ...]
    at: int


def leaning(text: str, table: Table = PROSE, said: str = "") -> tuple[Leaning, ...]:
    """The words' share of each cell's log-odds, in nats; empty where too few known words occur.

    Args:
        text: what counts.
        table: the table for its kind.
        said: the text to quote at the same offsets, where it is not the one that counts.
    """
    rows = _rows(table)
    known = [(name, row, span) for name, span in features(text, table).items() if (row := rows.get(name))]
    if sum(name.isalpha() for name, _, _ in known) < table.least:
        return ()
    letters = [row for name, row, _ in known if name.startswith("l:")]
    words = [(row, span) for name, row, span in known if not name.startswith("l:")]
    by_word, by_letter = (table.scale / math.sqrt(max(len(group), table.floor)) for group in (words, letters))
    return tuple(
        Leaning(
            cell,
            by_word * sum(row[i] for row, _ in words) + by_letter * sum(row[i] for row in letters),
            *_quotes(said or text, i, words),
        )
        for i, cell in enumerate(CELLS)
    )


def _quotes(text: str, i: int, known: list[tuple[tuple[float, ...], tuple[int, int]]]) -> tuple[tuple[str, ...], int]:
    own = [(row[i], span) for row, span in known if row[i] == max(row)]
    best = sorted(own or [(row[i], span) for row, span in known], reverse=True)
    spans: list[tuple[int, int]] = []
    for _, span in best:
        if all(span[1] <= a or b <= span[0] for a, b in spans):
            spans.append(span)
        if len(spans) == QUOTED:
            break
    spans.sort()
    return tuple(" ".join(text[a:b].split()) for a, b in spans), spans[0][0] if spans else 0


def probabilities(words: Mapping[Cell, float], found: Mapping[str, float], table: Table = PROSE) -> dict[Cell, float]:
    """``p(cell)``, the softmax of ``b + W x + U v``.

    Args:
        words: ``W x`` by cell, up to a constant, in nats.
        found: ``v`` by the name of its feature; features that the table lacks count nothing.
        table: whose ``b`` and ``U``.
    """
    rows = _rows(table)
    logits = [words[cell] + rows[BIAS][i] for i, cell in enumerate(CELLS)]
    for name, value in found.items():
        row = rows.get(name)
        if row:
            logits = [logit + value * weight for logit, weight in zip(logits, row, strict=True)]
    top = max(logits)
    parts = [math.exp(logit - top) for logit in logits]
    return {cell: part / sum(parts) for cell, part in zip(CELLS, parts, strict=True)}


@lru_cache(maxsize=3)
def _rows(table: Table) -> dict[str, tuple[float, ...]]:
    text = resources.files("fourfold.atlas").joinpath(f"{table.name}.tsv").read_text(encoding="utf-8")
    lines = (line.split("\t") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: tuple(int(value) * table.unit for value in values) for name, *values in lines}
