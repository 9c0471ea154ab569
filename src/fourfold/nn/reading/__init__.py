"""How networks read conditions: one file for each kind of space, and any other space as its numbers."""

from __future__ import annotations

import importlib
import pkgutil

from fourfold.nn.reading.registry import reading, reading_of

__all__ = ["reading", "reading_of"]

for _info in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_info.name}")
