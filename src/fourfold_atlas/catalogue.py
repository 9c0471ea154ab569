"""The catalogue of systems: TOML files beside this module, loaded and validated without any dependency."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fourfold_atlas.evidence import Cell

__all__ = ["LIKELIHOODS", "MODALITIES", "CatalogueEntry", "CatalogueError", "Component", "System"]
__all__ += ["check", "entries", "load", "plain", "systems"]

MODALITIES = frozenset(
    (
        *("text", "image", "video", "audio", "speech", "music", "table", "molecule", "protein", "graph"),
        *("time-series", "robotics", "3d", "multimodal", "classical"),
    )
)
LIKELIHOODS = frozenset(["exact", "lower_bound", "estimate", "estimated_bound", "unnormalised", "none"])
COSTS = frozenset(["constant", "length", "steps", "chain", "not_applicable"])
WITHHELD = "withheld"
"""The weights of a system whose makers keep them."""
FOLDER = Path(__file__).parent / "catalogue"
_LINK = re.compile(r"https?://[\w.-]+\.[a-z]{2,}(/\S*)?$")
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*$")
#: the year in the number of an arXiv paper
_ARXIV = re.compile(r"arxiv\.org/\w+/(\d{2})\d{2}\.")


class CatalogueError(ValueError):
    """An entry that breaks the schema: names the file, the entry and the field."""


@dataclass(frozen=True)
class Component:
    """A part of a system: its name, its role, and how it was trained."""

    name: str
    role: str
    trained: str


@dataclass(frozen=True)
class System:
    """One entry of the catalogue: a real system, with the two answers in the catalogue's own words.

    ``weights`` is a link to where anyone can download them, ``withheld``, or empty where the entry does not state it.
    """

    id: str
    name: str
    aliases: tuple[str, ...]
    year: int
    organisation: str
    modality: str
    paradigm: Cell
    objective: str
    sampling: str
    conditioning: tuple[str, ...]
    likelihood: str
    cost: str
    components: tuple[Component, ...]
    inherited: tuple[str, ...]
    source: tuple[str, ...]
    weights: str = ""

    @classmethod
    def of(cls, row: Mapping[str, Any], where: str) -> System:
        """An entry from its table.

        Raises:
            CatalogueError: a field is missing, of the wrong type, or outside its vocabulary.
        """
        here = f"{where}: {row.get('id', row.get('name', 'an entry without id'))}"
        texts = {key: _field(row, key, str, here) for key in _TEXTS}
        lists = {
            key: tuple(_field(row, key, list, here, [])) for key in ("aliases", "conditioning", "inherited", "source")
        }
        parts = tuple(_part(part, here) for part in _field(row, "components", list, here, []))
        for key, choices in (
            ("modality", MODALITIES),
            ("likelihood", LIKELIHOODS),
            ("cost", COSTS),
            ("paradigm", frozenset(Cell)),
        ):
            if texts[key] not in choices:
                raise CatalogueError(f"{here}: {key} must be one of {', '.join(sorted(choices))}, got {texts[key]!r}")
        unknown = set(row) - {*_TEXTS, *lists, "components", "year", "weights"}
        if unknown:
            raise CatalogueError(f"{here}: fields must be those of an entry, got {sorted(unknown)[0]!r}; remove it")
        if not _ID.match(texts["id"]):
            raise CatalogueError(f"{here}: id must be lower-case words joined by hyphens, got {texts['id']!r}")
        if not lists["source"] or not all(isinstance(link, str) and _LINK.match(link) for link in lists["source"]):
            raise CatalogueError(f"{here}: source must be one link or more, each with https://, got {lists['source']}")
        weights = row.get("weights", "")
        if "weights" in row and weights != WITHHELD and not (isinstance(weights, str) and _LINK.match(weights)):
            raise CatalogueError(f"{here}: weights must be a link or {WITHHELD!r}, got {str(weights)[:40]!r}")
        rest = {"paradigm": Cell(texts["paradigm"]), "year": _field(row, "year", int, here), "weights": weights}
        return cls(**{**texts, **lists, **rest, "components": parts})


_TEXTS = ("id", "name", "organisation", "modality", "paradigm", "objective", "sampling", "likelihood", "cost")


def _field(row: Mapping[str, Any], key: str, kind: type, here: str, default: Any = None) -> Any:
    value = row.get(key, default)
    if not isinstance(value, kind) or (kind is str and not value):
        raise CatalogueError(f"{here}: {key} must be a {kind.__name__}, got {type(value).__name__} {str(value)[:40]!r}")
    return value


def _part(part: Any, here: str) -> Component:
    if not isinstance(part, dict) or not {"name", "role"} <= set(part) <= {"name", "role", "trained"}:
        raise CatalogueError(f"{here}: a component must be a table of name, role and trained, got {str(part)[:40]}")
    return Component(str(part["name"]), str(part["role"]), str(part.get("trained", "")))


def load(folder: Path = FOLDER) -> tuple[System, ...]:
    """Every entry below a folder, by year and name.

    Raises:
        CatalogueError: a file is not TOML, or an entry breaks the schema.
    """
    rows = [System.of(row, name) for name, row in _rows(folder)]
    return tuple(sorted(rows, key=lambda system: (system.year, system.name)))


def _rows(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path in sorted(folder.glob("*.toml")):
        try:
            value = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise CatalogueError(f"{path.name}: must be TOML, got a syntax error: {error}") from error
        entries = value.get("system", [])
        if set(value) - {"system"} or not isinstance(entries, list):
            raise CatalogueError(f"{path.name}: must hold [[system]] tables alone, got others: remove them")
        yield from ((path.name, entry) for entry in entries)


def check(rows: tuple[System, ...]) -> list[str]:
    """Faults that the schema does not show: an id, name or alias of two systems. A year far from that of its paper."""
    owners: dict[str, str] = {}
    names = [
        (name, system.id)
        for system in rows
        for name in sorted({system.id, *map(plain, (system.name, *system.aliases))})
    ]
    shared = [
        f"{name!r} names both {owners[name]} and {id_}" for name, id_ in names if owners.setdefault(name, id_) != id_
    ]
    papers = [(system, [2000 + int(yy) for link in system.source for yy in _ARXIV.findall(link)]) for system in rows]
    return shared + [
        f"{system.id}: year {system.year}, but its first paper on arXiv is of {min(years)}"
        for system, years in papers
        if years and abs(system.year - min(years)) > 1
    ]


def plain(name: str) -> str:
    """A name for comparison: lower case, words, digits and plus signs only, joined by hyphens."""
    return "-".join(re.findall(r"[^\W\d_]+|\d+(?:\.\d+)?|\++", name.lower()))


@dataclass(frozen=True)
class CatalogueEntry:
    """An entry as it stands in its file, with the fields that names are found by. It is parsed when it answers."""

    file: str
    text: str
    id: str
    names: tuple[str, ...]
    paradigm: Cell
    source: tuple[str, ...]

    @property
    def system(self) -> System:
        """The whole entry.

        Raises:
            CatalogueError: it is not TOML, or breaks the schema.
        """
        try:
            return System.of(tomllib.loads(self.text), self.file)
        except tomllib.TOMLDecodeError as error:
            raise CatalogueError(f"{self.file}: {self.id} must be TOML, got a syntax error: {error}") from error


#: the lines of an entry that names are found by
_LINE = re.compile(r"(?m)^(id|name|aliases|paradigm|source) = (.+)$")


@lru_cache(maxsize=1)
def entries() -> tuple[CatalogueEntry, ...]:
    """The catalogue that comes with the package, found by its names. A fraction of the time that parsing it takes."""
    texts = ((path.name, path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.toml")))
    return tuple(_entry(file, block) for file, text in texts for block in text.split("[[system]]\n")[1:])


def _entry(file: str, text: str) -> CatalogueEntry:
    fields = {key: json.loads(value) for key, value in _LINE.findall(text)}
    names = (fields["name"], *fields["aliases"])
    return CatalogueEntry(file, text, fields["id"], names, Cell(fields["paradigm"]), tuple(fields["source"]))


@lru_cache(maxsize=1)
def systems() -> tuple[System, ...]:
    """The whole catalogue that comes with the package, by year and name."""
    return load()
