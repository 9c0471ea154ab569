"""Models with fewer steps, for tests of what does not depend on their number."""

import dataclasses
from typing import TypeVar

from fourfold.core import GenerativeModel, Likelihood, Sampler

__all__ = ["shorter"]

P = TypeVar("P", Sampler, Likelihood)


def shorter(model: GenerativeModel, sampler: int = 4, likelihood: int = 1) -> GenerativeModel:
    """The same model with at most so many steps or levels of noise, and with the fewest probes of a divergence."""
    return model.with_parts(
        sampler=_shortened(model.sampler, sampler), likelihood=_shortened(model.likelihood, likelihood)
    )


def _shortened(part: P, most: int) -> P:
    """The same sampler or likelihood, and those inside it."""
    limits = {"steps": most, "levels": max(most, 2), "temperatures": max(most, 2), "probes": 2}
    changed: dict[str, object] = {}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if isinstance(value, Sampler | Likelihood):
            changed[field.name] = _shortened(value, most)
        elif field.name in limits and value is not None:
            changed[field.name] = min(value, limits[field.name])
    return dataclasses.replace(part, **changed)
