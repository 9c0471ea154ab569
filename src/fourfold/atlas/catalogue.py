"""The catalogue of systems: TOML files beside this module, loaded and validated without any dependency.

``python -m fourfold.atlas.catalogue`` writes them as one JSON file, which loads seven times faster; it is used only while it stems from
the files as they stand, so an entry that is added counts at once.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from zlib import crc32

from fourfold.atlas.evidence import Cell

__all__ = [
    "LIKELIHOODS",
    "MODALITIES",
    "CatalogueError",
    "Component",
    "System",
    "build",
    "built",
    "check",
    "load",
    "systems",
]

MODALITIES = frozenset(
    [
        "text",
        "image",
        "video",
        "audio",
        "speech",
        "music",
        "table",
        "molecule",
        "protein",
        "graph",
        "time-series",
        "robotics",
        "3d",
        "multimodal",
        "classical",
    ]
)
LIKELIHOODS = frozenset(["exact", "lower_bound", "estimate", "unnormalised", "none"])
COSTS = frozenset(["constant", "length", "steps", "chain", "not_applicable"])
FOLDER = Path(__file__).parent / "catalogue"
BUILT = Path(__file__).parent / "catalogue.json"
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
    """One entry of the catalogue: a real system, with the two answers in the catalogue's own words."""

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
        for key, allowed in (
            ("modality", MODALITIES),
            ("likelihood", LIKELIHOODS),
            ("cost", COSTS),
            ("paradigm", frozenset(Cell)),
        ):
            if texts[key] not in allowed:
                raise CatalogueError(f"{here}: {key} = {texts[key]!r} is not one of {', '.join(sorted(allowed))}")
        unknown = set(row) - {*_TEXTS, *lists, "components", "year"}
        if unknown:
            raise CatalogueError(f"{here}: unknown field {sorted(unknown)[0]!r}")
        if not _ID.match(texts["id"]):
            raise CatalogueError(f"{here}: an id is lower-case words joined by hyphens")
        if not lists["source"] or not all(isinstance(link, str) and _LINK.match(link) for link in lists["source"]):
            raise CatalogueError(f"{here}: source needs at least one link, each starting with https://")
        return cls(
            id=texts["id"], name=texts["name"], aliases=lists["aliases"], year=_field(row, "year", int, here), organisation=texts["organisation"],
            modality=texts["modality"], paradigm=Cell(texts["paradigm"]), objective=texts["objective"], sampling=texts["sampling"],
            conditioning=lists["conditioning"], likelihood=texts["likelihood"], cost=texts["cost"], components=parts,
            inherited=lists["inherited"], source=lists["source"],
        )  # fmt: skip


_TEXTS = ("id", "name", "organisation", "modality", "paradigm", "objective", "sampling", "likelihood", "cost")


def _field(row: Mapping[str, Any], key: str, kind: type, here: str, default: Any = None) -> Any:
    value = row.get(key, default)
    if not isinstance(value, kind) or (kind is str and not value):
        raise CatalogueError(f"{here}: {key} must be a {kind.__name__}, not {type(value).__name__} {str(value)[:40]!r}")
    return value


def _part(part: Any, here: str) -> Component:
    if not isinstance(part, dict) or not {"name", "role"} <= set(part) <= {"name", "role", "trained"}:
        raise CatalogueError(f"{here}: a component is a table of name, role and trained")
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
            raise CatalogueError(f"{path.name}: not TOML: {error}") from error
        entries = value.get("system", [])
        if set(value) - {"system"} or not isinstance(entries, list):
            raise CatalogueError(f"{path.name}: holds [[system]] tables and nothing else")
        yield from ((path.name, entry) for entry in entries)


def check(rows: tuple[System, ...]) -> list[str]:
    """What the schema does not show: an id, name or alias that belongs to two systems; a year far from that of its paper."""
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


def _stem(folder: Path) -> int:
    """A checksum of the files that a built catalogue stems from."""
    stem = 0
    for path in sorted(folder.glob("*.toml")):
        stem = crc32(path.read_bytes(), crc32(path.name.encode(), stem))
    return stem


def build(folder: Path = FOLDER, to: Path = BUILT) -> None:
    """Write the validated catalogue as JSON, with the checksum of its files."""
    rows = [json.dumps(list(asdict(system).values()), ensure_ascii=False) for system in load(folder)]
    to.write_text(f'{{"stem": {_stem(folder)}, "systems": [\n' + ",\n".join(rows) + "\n]}\n", encoding="utf-8")


def built(folder: Path = FOLDER, at: Path = BUILT) -> tuple[System, ...] | None:
    """The catalogue from its JSON file, or ``None`` where that is missing or stems from other files."""
    try:
        value = json.loads(at.read_text(encoding="utf-8"))
        if value["stem"] != _stem(folder):
            return None
        return tuple(_system(row) for row in value["systems"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _system(row: list[Any]) -> System:
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in zip(System.__dataclass_fields__, row, strict=True)
    }
    fields["paradigm"] = Cell(fields["paradigm"])
    fields["components"] = tuple(Component(**part) for part in fields["components"])
    return System(**fields)


@lru_cache(maxsize=1)
def systems() -> tuple[System, ...]:
    """The catalogue that comes with the package."""
    return built() or load()


if __name__ == "__main__":
    build()
