"""The atlas places a generative system on the map by its training objective and its sampling procedure.

It knows only the vocabulary, loads no torch and needs no network. Names are imported when first used. ``systems`` is
the catalogue, a tuple of ``System`` by year and name.
"""

from __future__ import annotations

import importlib
from typing import Any

_WHERE = {
    "fourfold_atlas.api": "place place_code place_files place_text",
    "fourfold_atlas.bounded": "UnreadableError",
    "fourfold_atlas.evidence": "Cell Claim Evidence Reader",
    "fourfold_atlas.decision": "decide",
    "fourfold_atlas.parts": "Part",
    "fourfold_atlas.placement": "Placement",
    "fourfold_atlas.prose": "place_words",
    "fourfold_atlas.catalogue": "CatalogueError System",
    "fourfold_atlas.ranking": "Landmark landmarks",
}
_PUBLIC = {name: module for module, names in _WHERE.items() for name in names.split()}
__all__ = ["drawing", "show", "systems", *sorted(_PUBLIC)]  # noqa: PLE0604 - all strings: the rule does not see through the star


def __getattr__(name: str) -> Any:
    if name == "systems":
        return importlib.import_module("fourfold_atlas.catalogue").systems()
    if name in ("show", "drawing"):
        return importlib.import_module(f"fourfold_atlas.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fourfold_atlas' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
