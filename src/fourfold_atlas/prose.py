"""Placement by prose: by its statements, or by the catalogued system that it describes."""

from __future__ import annotations

from fourfold_atlas.decision import decide, states
from fourfold_atlas.names import place_mention
from fourfold_atlas.placement import Placement
from fourfold_atlas.words import read_words

__all__ = ["place_words", "title"]

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
    return _or_mention(decide(subject or title(text), read_words(text, where)), text)


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
