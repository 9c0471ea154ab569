"""The data of the map: every system of the atlas as a dot, and its card. The atlas is a wing that may be missing."""

from __future__ import annotations

import functools
import importlib.util
import json
from dataclasses import asdict
from typing import Any

from fourfold.vocabulary import FACTS

__all__ = ["cards", "dots", "is_there"]

COLUMNS = (
    "id",
    "name",
    "year",
    "organisation",
    "modality",
    "paradigm",
    "likelihood",
    "cost",
    "weights",
    "parts",
    "zoom",
)
"""The fields of a dot."""


def is_there() -> bool:
    """Whether the atlas is installed."""
    return importlib.util.find_spec("fourfold_atlas") is not None


@functools.cache
def dots() -> bytes:
    """JSON of all systems in rows of :data:`COLUMNS`, the best known first, and the facts of each paradigm.

    Raises:
        LookupError: if the atlas is not installed.
    """
    if not is_there():
        raise LookupError("the map needs the atlas, a part of fourfold that is missing here; install fourfold whole")
    from fourfold_atlas.ranking import landmarks

    rows = [
        [
            *(system.id, system.name, system.year, system.organisation, system.modality, system.paradigm.value),
            *(system.likelihood, system.cost, _weights(system.weights), len(system.inherited), landmark.zoom),
        ]
        for landmark in landmarks()
        for system in [landmark.system]
    ]
    facts = {paradigm.value: _facts(paradigm) for paradigm in FACTS}
    return json.dumps({"columns": COLUMNS, "systems": rows, "paradigms": facts}, ensure_ascii=False).encode()


def _facts(paradigm: Any) -> dict[str, Any]:
    facts = FACTS[paradigm]
    return {
        "represents": facts.represents,
        "objective": facts.objective,
        "objective_formula": facts.objective_formula,
        "sampling": facts.sampling,
        "sampling_formula": facts.sampling_formula,
        "likelihood": facts.likelihood.value,
        "likelihood_note": facts.likelihood_note,
        "cost_note": facts.cost_note,
        "gives": facts.gives,
        "drawbacks": facts.drawbacks,
        "failures": [
            {"name": mode.name, "meaning": mode.meaning, "seen": mode.measurement} for mode in facts.failure_modes
        ],
        "papers": [{"authors": paper.authors, "year": paper.year, "link": paper.link} for paper in facts.references],
    }


def _weights(statement: str) -> str:
    """Whether anyone can download the weights of a system: ``open``, ``withheld`` or ``unstated``."""
    return "open" if "://" in statement else statement or "unstated"


@functools.cache
def cards() -> bytes:
    """JSON of the cards of all systems by id: the two answers, the pieces, and the sources."""
    from fourfold_atlas.catalogue import systems

    return json.dumps(
        {
            system.id: {
                "aliases": system.aliases,
                "objective": system.objective,
                "sampling": system.sampling,
                "conditioning": system.conditioning,
                "components": [asdict(part) for part in system.components],
                "inherited": system.inherited,
                "source": system.source,
                "weights": system.weights,
            }
            for system in systems()
        },
        ensure_ascii=False,
    ).encode()
