"""Samplers that several paradigms use: frozen dataclasses of settings, without weights and without a device."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any

from fourfold.core import Estimand, GenerativeModel, Sampler, view
from fourfold.output.printable import one_of

__all__ = ["fitting", "resampled", "sampler_by_name", "samplers"]


def samplers() -> Mapping[str, type[Sampler]]:
    """The samplers of this package that need no settings, by the names of their classes."""
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    members = {name: getattr(module, name) for module in modules for name in getattr(module, "__all__", ())}
    return {
        name: value
        for name, value in sorted(members.items())
        if isinstance(value, type) and issubclass(value, Sampler) and _has_defaults(value)
    }


def _has_defaults(kind: Any) -> bool:
    """True if a dataclass can be constructed without arguments."""
    missing = dataclasses.MISSING
    return not inspect.isabstract(kind) and all(
        field.default is not missing or field.default_factory is not missing for field in dataclasses.fields(kind)
    )


def sampler_by_name(name: str, estimand: Estimand, also: Sequence[str] = ()) -> Sampler:
    """The sampler with a given name, with its default settings.

    Args:
        name: the name of its class. Case, hyphens and underscores do not matter.
        estimand: the module that the sampler is to run on. The error lists the samplers that can.
        also: other names that the error offers.

    Raises:
        ValueError: for an unknown name, listing the samplers that run on the estimand.
    """
    kinds = samplers()
    match = {_spelling(candidate): candidate for candidate in kinds}.get(_spelling(name))
    if match is None:
        fit = [*also, *fitting(estimand)]
        choice = one_of(name, fit, 99) if fit else f"left out for this model, which has one, got {name!r}"
        raise ValueError(f"sampler must be {choice}")
    return kinds[match]()


def fitting(estimand: Estimand) -> list[str]:
    """The names of the samplers that run on an estimand with their default settings."""
    return [name for name, kind in samplers().items() if _runs_on(kind, estimand)]


def _spelling(name: str) -> str:
    """A name in lower case, without hyphens and underscores."""
    return name.lower().replace("-", "").replace("_", "")


def resampled(model: GenerativeModel, name: str) -> GenerativeModel:
    """The model with another sampler, or with another way to show samples (``AsDraw``), by its name.

    Raises:
        ValueError: for an unknown name, listing those that the model can use.
        TypeError: for a sampler that does not run on the model.
    """
    ways = model.variants()
    match = {_spelling(way): way for way in ways}.get(_spelling(name))
    return model.with_parts(sampler=sampler_by_name(name, model.estimand, list(ways))) if match is None else ways[match]


def _runs_on(kind: type[Sampler], estimand: Estimand) -> bool:
    """True if the estimand has a view as the estimand that a sampler needs."""
    try:
        view(estimand, kind.needs)
    except TypeError:
        return False
    return True
