"""Makes text from outside safe to print: a file, a name or a cell must not control the terminal."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

__all__ = ["one_of", "plural", "printable", "shortened"]

#: control, format (bidirectional overrides among them), lone surrogates, line and paragraph separators
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
#: zero-width joiners: words of several scripts and emoji are spelled with them, and they move nothing
_JOINERS = "\u200c\u200d"


def printable(text: str, keep: str = "") -> str:
    r"""The text with each control character written as its escape, such as ``\u001b``.

    The escapes are those of JSON, so a JSON document keeps its meaning.

    Args:
        text: any text. Lone surrogates of undecodable file names are escaped too.
        keep: control characters to leave as they are, such as ``"\n"`` in text of several lines.
    """
    if text.isprintable():
        return text
    return "".join(_escaped(char) if char not in keep and _is_hidden(char) else char for char in text)


def shortened(names: Iterable[object], most: int = 12, characters: int = 200) -> str:
    """The first names of a list and the number of the others, in a short line."""
    words = [str(name) for name in names]
    first: list[str] = []
    for word in words[:most]:
        word = word if len(word) <= 40 else f"{word[:39]}…"
        if first and sum(map(len, first)) + len(word) > characters:
            break
        first.append(word)
    rest = len(words) - len(first)
    return ", ".join(first) + (f" and {rest:,} more" if rest else "")


def one_of(name: object, names: Iterable[object], most: int = 12) -> str:
    """The words of a refusal behind "must be": the first names that there are, the one that came, and a similar one."""
    words = [str(word) for word in names]
    by_spelling = {_spelling(word): word for word in words}
    close = difflib.get_close_matches(_spelling(str(name)), by_spelling, 1)
    guess = f"; did you mean {by_spelling[close[0]][:80]!r}?" if close else ""
    return f"one of {shortened(words, most, 20 * most)}, got {str(name)[:80]!r}{guess}"


def _spelling(name: str) -> str:
    return name.lower().replace("_", "-").replace(" ", "-")


def _is_hidden(char: str) -> bool:
    return unicodedata.category(char) in _HIDDEN and char not in _JOINERS


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def plural(count: int, word: str) -> str:
    """A number with its noun in singular or plural."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
