r"""Formats of texts such as ``[A-Z]{2}\d{4}``: regular expressions of literal letters and of letters of a kind."""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
import math
import re
import string
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = ["ADDRESS", "SUPPORT", "UUID", "format_of_all", "formats_of", "is_format", "numbered_texts", "places_of"]

SUPPORT = 5
"""Rows that a pattern needs: what fewer rows have in common is not told."""
FORMATS = 20
"""Formats of a column, at most. In more, texts have none."""
ROOM = 10_000
"""Texts that a format has for each text of the data, at least, if fresh ones are to be new."""
UUID, ADDRESS = "uuid", "ipv4"
"""Formats with a name: of identifiers by RFC 9562, and of addresses in the private network 10.0.0.0 of RFC 1918."""
_KINDS = (("[0-9]", r"\d"), ("[A-Z]", "[A-Z]"), ("[a-z]", "[a-z]"))
_LETTERS = {
    r"\d": string.digits,
    "[0-9a-f]": string.hexdigits[:16],
    "[0-9A-F]": string.hexdigits[:10] + string.hexdigits[16:],
    "[a-z]": string.ascii_lowercase,
    "[A-Z]": string.ascii_uppercase,
    "[0-9a-z]": string.digits + string.ascii_lowercase,
    "[0-9A-Z]": string.digits + string.ascii_uppercase,
    "[0-9A-Za-z]": string.digits + string.ascii_letters,
}
"""The letters of each kind, the smaller kinds first."""
_PLACES = re.compile(rf"(\\[^d]|[^\[\\])|({'|'.join(map(re.escape, _LETTERS))})\{{(\d+)\}}")
"""The parts of a format: a letter as it stands, or a kind of letters and their number."""


def formats_of(texts: Sequence[str]) -> tuple[tuple[str, float], ...]:
    r"""The formats of texts as regular expressions, such as ``[A-Z]{2}\d{4}``. None if some text has another one.

    There are at most :data:`FORMATS`, each of :data:`SUPPORT` rows or more. Runs of letters or digits have their
    length, or else any length. The second of each pair is the share of texts that have it.
    """
    for exact in (True, False):
        counts = Counter(_format(text, exact) for text in texts)
        informative = any(re.search(r"\\d|[^A-Za-z\[\]+{}\d\-\\ ]", form) for form in counts)
        if 0 < len(counts) <= FORMATS and min(counts.values()) >= SUPPORT and informative:
            return tuple((form, count / len(texts)) for form, count in counts.most_common())
    return ()


def _format(text: str, exact: bool) -> str:
    """The format of a text."""
    parts = []
    for run in re.findall(r"[0-9]+|[A-Z]+|[a-z]+|[^0-9A-Za-z]", text):
        kind = next((form for letter, form in _KINDS if re.match(letter, run)), None)
        if kind is None:
            parts.append(re.escape(run))
        else:
            parts.append(kind + (f"{{{len(run)}}}" if exact else "+"))
    return "".join(parts)


def format_of_all(texts: Sequence[str]) -> str | None:
    """The one format of texts that name their rows, such as ``[0-9a-f]{8}``, or the name of one.

    Letters that all texts have at a place are literal. ``None`` for texts of several lengths, with other letters than
    ASCII's, or of a format that has fewer than :data:`ROOM` texts for each.
    """
    if not texts:
        return None
    if all(re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text) for text in texts):
        return UUID
    if all(map(_is_address, texts)):
        return ADDRESS
    if len({*map(len, texts)}) > 1:
        return None
    sets = [{*letters} for letters in zip(*texts, strict=True)]
    parts = []
    for literal, run in itertools.groupby(sets, key=lambda letters: len(letters) == 1):
        places = list(run)
        if literal:
            parts.append(re.escape("".join(itertools.chain.from_iterable(places))))
            continue
        letters = set().union(*places)
        kind = next((kind for kind, members in _LETTERS.items() if letters <= {*members}), None)
        if kind is None:
            return None
        parts.append(f"{kind}{{{len(places)}}}")
    form = "".join(parts)
    return form if _size(places_of(form)) >= ROOM * len(texts) else None


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def is_format(pattern: str) -> bool:
    """True for the name of a format, and for a regular expression that has a kind of letters."""
    parts = _PLACES.findall(pattern)
    return pattern in (UUID, ADDRESS) or (
        _PLACES.sub("", pattern) == "" and any(kind for _, kind, _ in parts) and "{}" not in pattern
    )


def places_of(form: str) -> list[str]:
    """The letters that may stand at each place of a format of one length."""
    return [
        literal.lstrip("\\") or (literal and "\\") or _LETTERS[kind]
        for literal, kind, count in _PLACES.findall(form)
        for _ in range(int(count or 1))
    ]


def _size(places: Sequence[str]) -> int:
    """The number of texts of a format."""
    return math.prod(map(len, places))


def numbered_texts(form: str, numbers: Iterable[int], name: str) -> list[str]:
    """A text of a format for each number. No two are alike, up to the number of its texts.

    Number ``n`` is written in the mixed base of the places as ``a n + b mod M``, where ``a`` has no divisor in common
    with the ``M`` texts of the format. Both follow from the name. So texts look drawn, and none repeats.
    """
    if form == UUID:
        return [str(uuid.uuid5(uuid.NAMESPACE_OID, f"{name} {number}")) for number in numbers]
    if form == ADDRESS:
        first = int(ipaddress.IPv4Address("10.0.0.0"))
        return [str(ipaddress.IPv4Address(first + number % (1 << 24))) for number in numbers]
    places = places_of(form)
    size = _size(places)
    length = size.bit_length() // 8 + 1
    digest = hashlib.shake_256(name.encode()).digest(2 * length)
    start, offset = (int.from_bytes(part) % size for part in (digest[:length], digest[length:]))
    step = next(a for a in itertools.count(start) if math.gcd(a, size) == 1)
    texts = []
    for number in numbers:
        value, letters = (step * number + offset) % size, []
        for place in reversed(places):
            value, at = divmod(value, len(place))
            letters.append(place[at])
        texts.append("".join(reversed(letters)))
    return texts
