"""Placement by prose: by its statements, or by the catalogued system that it describes."""

from __future__ import annotations

import re
from dataclasses import replace

from fourfold_atlas.decision import decide, states
from fourfold_atlas.evidence import Form
from fourfold_atlas.names import place_mention
from fourfold_atlas.placement import Placement
from fourfold_atlas.wording import PLAIN
from fourfold_atlas.words import read_words

__all__ = ["place_words", "title"]

#: plain words of German, French, Spanish, Italian and Portuguese
_OTHERS_TEXT = """
der und ist ein eine nicht mit auf von wird für les des et est une dans pour qui sur los las que para con del una por
il di che della sono não são uma com dos das wir den dem zu im sich werden durch aus bei nous du au avec el se un nel
"""
_OTHERS = frozenset(_OTHERS_TEXT.split())
#: fewer words tell no language; English has a plain word among so many
FEWEST, EVERY = 12, 14
#: letters of scripts in which no English is written: all beyond Latin and Greek, which formulas have
_SCRIPTS = re.compile(r"[\u0400-\u1dff\u2e80-\ud7ff]")
#: words yield to the catalogue below this confidence where the opening or a link names a system. Where the title names
#: one, they yield unless they state their mechanism with more than that
UNSURE, TITLED = 0.75, 0.95


def place_words(text: str, subject: str = "", where: str = "") -> Placement:
    """Place by prose. Where it leaves doubt, by the catalogued system that its title or its links name.

    An answer by a name is prior knowledge and says so.

    Args:
        text: a card, an abstract, a sentence.
        subject: the name of the system that it describes. By default its first words.
        where: the name of the file that it stands in: quotes then carry their line.
    """
    placed = _or_mention(decide(subject or title(text), read_words(text, where)), text)
    if english(text) or placed.prior:
        return placed
    note = "only English is read, and this text seems to be in another language"
    of = (row for row in placed.evidence if row.weight > 0 and row.claim.speaks and row.claim.cell is placed.cell)
    if any(row.form in (Form.REASON, Form.PASSAGE) for row in of):
        return replace(placed, notes=(note, *placed.notes))
    missing = f"an English text: {note}; translate it, or give its files or code"
    return replace(placed, cell=None, confidence=0.0, missing=missing)


def english(text: str) -> bool:
    """False for a text in another script, and for one of some length whose plain words are rather those of others."""
    words = re.findall(r"[^\W\d_]+", text[:5_000].lower())
    letters = "".join(words)
    if len(_SCRIPTS.findall(letters)) > max(FEWEST, len(letters) // 3):
        return False
    foreign = sum(len(word) for word in words if not word.isascii())
    plain, others = (sum(word in known for word in words) for known in (PLAIN, _OTHERS))
    few = plain * EVERY <= len(words)
    return len(words) < FEWEST or not (few and (others > max(2, plain) or foreign * 10 > sum(map(len, words))))


def _or_mention(placed: Placement, text: str) -> Placement:
    """Placement by words, or by the catalogued system that they are about where words leave doubt. Never a mixture."""
    if placed.cell is not None and placed.confidence >= TITLED and states(placed):
        return placed
    doubtful = placed.cell is None or placed.confidence < UNSURE
    mention = place_mention(text, placed, doubtful)
    return placed if mention is None or mention.cell is placed.cell else mention


def title(text: str) -> str:
    """The first words of a text, 60 characters at most."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."
