"""Landmarks: the systems of the catalogue by how well readers know them, for a map with names at every zoom."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from fourfold_atlas.catalogue import System, systems
from fourfold_atlas.evidence import Cell

__all__ = ["NAMES", "Landmark", "landmarks"]

#: names that fit on the whole map; each zoom shows four times as many
NAMES = 40


@dataclass(frozen=True)
class Landmark:
    """A system with its place on the map.

    Attributes:
        id: its id in the catalogue.
        name: its name.
        year: the year in which it was published, a place along its region.
        cell: its band: the paradigm, or the land beyond the border.
        cost: its column: how the evaluations of one sample grow (``constant``, ``length``, ``steps``, ``chain``,
            ``not_applicable``).
        zoom: from which zoom on its name is shown: 0 is the whole map, and each step doubles it.
        system: its entry in the catalogue.
    """

    id: str
    name: str
    year: int
    cell: Cell
    cost: str
    zoom: int
    system: System


def landmarks(zoom: int | None = None) -> tuple[Landmark, ...]:
    """The systems whose names a zoom shows, the best known first.

    How well a system is known is our own judgement, which ``ranking.txt`` lists. Systems that it does not list
    follow, the latest first.

    Args:
        zoom: 0 for the whole map with ``NAMES`` names, 1 for four times as many, and so on. ``None`` for all systems.

    Raises:
        ValueError: ``zoom`` is negative.
    """
    if zoom is not None and zoom < 0:
        raise ValueError(f"zoom must be 0 or more, got {zoom}")
    return tuple(row for row in _landmarks() if zoom is None or row.zoom <= zoom)


@lru_cache(maxsize=1)
def _landmarks() -> tuple[Landmark, ...]:
    lines = resources.files("fourfold_atlas").joinpath("ranking.txt").read_text(encoding="utf-8").splitlines()
    ranks = {line: rank for rank, line in enumerate(line for line in lines if not line.startswith("#"))}
    ordered = sorted(systems(), key=lambda system: (ranks.get(system.id, len(ranks)), -system.year, system.name))
    return tuple(_landmark(system, rank) for rank, system in enumerate(ordered))


def _landmark(system: System, rank: int) -> Landmark:
    zoom = next(zoom for zoom in range(30) if rank < NAMES * 4**zoom)
    return Landmark(system.id, system.name, system.year, system.paradigm, system.cost, zoom, system)
