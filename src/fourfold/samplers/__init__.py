"""Samplers that several paradigms use: frozen dataclasses of settings, without weights and without a device."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fourfold.core import Sampler

__all__ = ["named", "samplers"]


def samplers() -> Mapping[str, type[Sampler]]:
    """Every sampler of this package by the name of its class, found by walking it; those with defaults for all settings."""
    from fourfold.core import Sampler

    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    found = {name: getattr(module, name) for module in modules for name in getattr(module, "__all__", ())}
    return {
        name: value
        for name, value in sorted(found.items())
        if isinstance(value, type) and issubclass(value, Sampler) and _has_defaults(value)
    }


def _has_defaults(kind: Any) -> bool:
    """Whether a dataclass can be made without arguments."""
    missing = dataclasses.MISSING
    return dataclasses.is_dataclass(kind) and all(
        field.default is not missing or field.default_factory is not missing for field in dataclasses.fields(kind)
    )


def named(name: str) -> Sampler:
    """The sampler of a name, with its default settings.

    Raises:
        ValueError: for a name that there is not, listing what there is.
    """
    known = samplers()
    if name not in known:
        raise ValueError(f"unknown sampler {name!r}: choose one of {', '.join(known)}")
    return known[name]()
