"""Readings of a name that the catalogue lacks: packed weights, short forms, makers and fields beside a name, slips."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

from fourfold_atlas.catalogue import CatalogueEntry, entries, plain
from fourfold_atlas.links import hub_name
from fourfold_atlas.names import described, place_name, unversioned
from fourfold_atlas.placement import Placement
from fourfold_atlas.products import Product, products
from fourfold_atlas.rules import naming, naming_words

__all__ = ["place_reading"]

#: the confidence where the other words of a name fit the entry, where some say nothing of it, and in a slip
FITTING, SILENT, SLIP = 0.8, 0.6, 0.7
#: words of a name that may say nothing of its entry, unless it is an id of a hub
MOST_SILENT = 2
#: letters of a name that can be a part of another
SHORTEST = 3
#: words of a maker before a name
MOST_BEFORE = 2
#: letters and digits from which a name can be a slip of another
SHORTEST_SLIP = 7
#: and from which one letter can stand for another: short names that differ so are often two systems
SHORTEST_REPLACED = 10
_ORGANISATION = re.compile(r'(?m)^organisation = "(\w+)"$')


def place_reading(name: str) -> Placement | None:
    """Placement by the catalogued name that a name holds or misspells, with words that say so. ``None`` if none.

    ``bark suno`` is Bark, by its maker; ``qwen2.5-7b-instruct-awq`` is a version of Qwen2.5; ``sd 2.1`` is short for
    Stable Diffusion. A word for another mechanism, field or maker means another system.
    """
    typed = naming("command").sub("", name)
    query = naming("packing").sub("", plain(hub_name(typed) or typed))
    first, _, rest = query.partition("-")
    query = "-".join(filter(None, (next(iter(naming_words("short").get(first, (first,)))), rest)))
    whole = _answer(query) if query != plain(name) else None
    placement = whole or _within(query, len(query) if hub_name(name) else MOST_SILENT) or _slip(query)
    return replace(placement, subject=name) if placement else None


def _answer(name: str) -> Placement | None:
    """The answer to a name as it stands, but for those that ask back."""
    placement = place_name(name) if name else None
    return placement if placement and placement.system else None


def _within(query: str, most: int) -> Placement | None:
    """The longest name that begins a query, or that follows its maker, where the words beside it allow that."""
    words = re.sub(r"-3-d(?![^-])", "-3d", query).split("-")
    if naming("prose").search(f"-{query}-"):
        return None
    for before in range(min(MOST_BEFORE, len(words) - 1) + 1):
        for end in range(len(words), before, -1):
            inner, maker, rest = "-".join(words[before:end]), words[:before], words[end:]
            if (
                (maker or rest)
                and all(len(word) > 1 for word in maker)
                and (match := _fitting(inner, maker, rest, most))
            ):
                return match
    return None


def _fitting(inner: str, maker: list[str], rest: list[str], most: int) -> Placement | None:
    """The answer to a name that stands within another, by the entry of that name that the other words fit best."""
    versioned = bool(rest) and rest[0].replace(".", "").isdigit()
    short = inner.isalpha() and len(inner) < SHORTEST
    if short or naming("generic").fullmatch(inner) or versioned or not (placement := _answer(inner)):
        return None
    entry = described(inner)
    more = _silent(entry, rest, most) if entry and _makes(entry, maker) else None
    if more is None:
        return _sibling(inner, [*maker, *rest])
    return None if more and _is_brand(inner) else _as_part(placement, SILENT if more else FITTING)


def _is_brand(inner: str) -> bool:
    """True for a name such as Qwen that begins those of systems in several places: a silent word may tell which."""
    brand = inner.replace("-", "")
    alike = [row for name, row in _by_name() if name.startswith(brand)]
    return len({cell for row in alike if (cell := _terms(row)[1])}) > 1


@lru_cache(maxsize=1)
def _by_name() -> tuple[tuple[str, CatalogueEntry | Product], ...]:
    """Entries and products by the letters and digits of their plain names."""
    rows: list[tuple[str, CatalogueEntry | Product]] = [*products().items()]
    rows += [(plain(name), entry) for entry in entries() for name in entry.names]
    return tuple((name.replace("-", ""), row) for name, row in rows)


def _makes(entry: CatalogueEntry | Product, maker: list[str]) -> bool:
    """True where an entry holds the words before its name."""
    return _terms(entry)[0].issuperset(maker)


def _sibling(inner: str, words: list[str]) -> Placement | None:
    """The only other entry whose name begins so, where all words fit it: of ``Aurora``, Microsoft's."""
    rows = {entry.id: entry for entry in entries() for name in entry.names if plain(name).startswith(f"{inner}-")}
    fits = [entry for entry in rows.values() if _silent(entry, words, 0) == 0]
    placement = _answer(fits[0].names[0]) if len({entry.paradigm for entry in fits}) == 1 else None
    return _as_part(placement, FITTING) if placement else None


def _as_part(placement: Placement, most: float) -> Placement:
    return _at_most(placement, most, f"by a part of its name, {placement.caveat or f'as {placement.system}'}")


def _at_most(placement: Placement, most: float, caveat: str) -> Placement:
    """A placement with no more confidence than that, and the words that say why."""
    sure = min(placement.confidence, most)
    ranked = tuple((cell, sure) for cell, _ in placement.ranked)
    return replace(placement, confidence=sure, ranked=ranked, caveat=caveat)


def _silent(entry: CatalogueEntry | Product, words: Iterable[str], most: int) -> int | None:
    """The number of words that an entry does not hold. ``None`` if there are more, or one means another system."""
    terms, cell, modality = _terms(entry)
    silent = 0
    for word in words:
        meant = [naming_words(table)[word] for table in ("mechanisms", "fields") if word in naming_words(table)]
        if word in terms or len(word) == 1 or word.replace(".", "").isdigit() or naming("neutral").fullmatch(word):
            continue
        if any({cell, modality}.isdisjoint(values) for values in meant) or (not meant and word in _makers()):
            return None
        silent += not meant
    return silent if silent <= most else None


def _terms(entry: CatalogueEntry | Product) -> tuple[frozenset[str], str, str]:
    """The words of an entry, its paradigm and its modality."""
    if isinstance(entry, CatalogueEntry):
        modality = re.search(r'(?m)^modality = "(.+)"', entry.text)
        return _words(entry.text), entry.paradigm.value, modality[1] if modality else ""
    like = described(entry.like) if entry.like else None
    cell = like.paradigm.value if isinstance(like, CatalogueEntry) else ""
    text = " ".join((entry.name, *entry.aliases, entry.organisation, entry.known, entry.source))
    return _words(text), cell, entry.modality


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W\d_]+", text.lower()))


@lru_cache(maxsize=1)
def _makers() -> frozenset[str]:
    """The makers of one word."""
    texts = (entry.text for entry in entries())
    makers = (*(name for text in texts for name in _ORGANISATION.findall(text)), *_product_makers())
    return frozenset(name.lower() for name in makers)


def _product_makers() -> Iterator[str]:
    return (row.organisation for row in products().values() if row.organisation.isalpha())


def _slip(query: str) -> Placement | None:
    """The only name of which a query, up to its version, is a slip of one letter inside it."""
    family = unversioned(query)
    letters = family.replace("-", "")
    near = {spelling: name for name in _name_families() if _is_slip(letters, spelling := name.replace("-", ""))}
    if len(near) != 1:
        return None
    spelling, name = near.popitem()
    replaced = len(spelling) == len(letters) and sorted(spelling) != sorted(letters)
    if replaced and len(letters) < SHORTEST_REPLACED:
        return None
    placement = _answer(name + query[len(family) :])
    if placement is None:
        return None
    return _at_most(placement, SLIP, f"taken for a slip, {placement.caveat or f'as {placement.system}'}")


@lru_cache(maxsize=1)
def _name_families() -> frozenset[str]:
    """The plain names of systems and products, without their versions."""
    return frozenset(map(unversioned, {*(plain(name) for entry in entries() for name in entry.names), *products()}))


def _is_slip(slip: str, name: str) -> bool:
    """True where two names begin and end alike and differ by one letter, or by two in the wrong order."""
    if min(len(slip), len(name)) < SHORTEST_SLIP or abs(len(slip) - len(name)) > 1 or slip == name:
        return False
    start = next(i for i in range(len(slip) + 1) if slip[i : i + 1] != name[i : i + 1])
    swapped = slip[start : start + 2] == name[start : start + 2][::-1] and slip[start + 2 :] == name[start + 2 :]
    ends = ((slip[start + i :], name[start + j :]) for i, j in ((1, 1), (0, 1), (1, 0)))
    single = any(end == other != "" for end, other in ends)
    return start > 0 and re.sub(r"\D", "", slip) == re.sub(r"\D", "", name) and (swapped or single)
