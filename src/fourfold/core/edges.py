"""The typed edges between parts: views of estimands, and the table from which a paradigm follows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from fourfold.core.codec import Codec
from fourfold.core.estimand import E, Estimand
from fourfold.core.likelihood import Likelihood
from fourfold.core.measure import Measure
from fourfold.core.objective import Objective
from fourfold.core.sampler import Sampler
from fourfold.vocabulary import Kind, Paradigm, Principle

__all__ = ["register_paradigm", "register_view", "view"]


VIEWS: dict[tuple[type[Estimand], type[Estimand]], Callable[[Any], Estimand]] = {}


PARADIGMS: dict[tuple[type[Estimand], Principle], Paradigm] = {}


def register_view(source: type[Estimand], target: type[Estimand]) -> Callable[[Callable[[Any], Estimand]], Any]:
    """Register the decorated callable as the view of ``source`` as ``target`` (compare ``register_kl`` in torch)."""

    def register(function: Callable[[Any], Estimand]) -> Callable[[Any], Estimand]:
        VIEWS[source, target] = function
        return function

    return register


def route(source: type, target: type) -> list[Callable[[Any], Estimand]] | None:
    """The shortest chain of views from one type to another, or ``None``."""
    queue: deque[tuple[type, list[Callable[[Any], Estimand]]]] = deque([(source, [])])
    visited: set[type] = {source}
    while queue:
        kind, chain = queue.popleft()
        if issubclass(kind, target):
            return chain
        for (start, end), function in VIEWS.items():
            if issubclass(kind, start) and end not in visited:
                visited.add(end)
                queue.append((end, [*chain, function]))
    return None


def view(estimand: Estimand, needs: type[E]) -> E:
    """The view of ``estimand`` as another kind: itself, or a module that wraps it and shares its weights.

    Raises:
        TypeError: if no chain of registered views leads there, with both names.
    """
    chain = route(type(estimand), needs)
    if chain is None:
        raise TypeError(f"estimand must be a {needs.__name__} or have a view as one, got {type(estimand).__name__}")
    for function in chain:
        estimand = function(estimand)
    assert isinstance(estimand, needs)
    return estimand


def register_paradigm(estimand: type[Estimand], principle: Principle, paradigm: Paradigm) -> None:
    """Enter a cell of the table from which a model's paradigm follows."""
    PARADIGMS[estimand, principle] = paradigm


def paradigm_of(estimand: type[Estimand], principle: Principle) -> Paradigm:
    """The paradigm of a cell of the table: of the estimand's type or the nearest one above it.

    Raises:
        LookupError: if that cell is empty.
    """
    for kind in estimand.__mro__:
        if (kind, principle) in PARADIGMS:
            return PARADIGMS[kind, principle]
    raise LookupError(f"estimand and principle must be those of a paradigm, got {estimand.__name__} and {principle}")


def check_edges(
    codec: Codec, estimand: Estimand, objective: Objective, sampler: Sampler, likelihood: Likelihood
) -> None:
    """Refuse parts that do not fit together.

    Raises:
        TypeError: with the names of both parts.
    """
    learns = objective.learns
    if not isinstance(estimand, learns):
        raise TypeError(
            f"estimand must be a {learns.__name__} for {type(objective).__name__}, got {type(estimand).__name__}"
        )
    for source, target in VIEWS:
        if isinstance(estimand, source) and not issubclass(learns, source):
            raise TypeError(
                f"estimand must be no {source.__name__} for {type(objective).__name__}, got {type(estimand).__name__}: "
                f"training fits a {learns.__name__}, not its view as a {target.__name__}"
            )
    for name, part in (("sampler", sampler), ("likelihood", likelihood)):
        if route(type(estimand), part.needs) is None:
            raise TypeError(
                f"{name} must take a {learns.__name__}, which {type(objective).__name__} learns, or a view of it, got "
                f"{type(part).__name__}, which needs a {part.needs.__name__}"
            )
    measure, of_codes = estimand.measure, getattr(codec, "measure", None)
    if measure is not None and of_codes not in (None, measure) and likelihood.kind is not Kind.NONE:
        raise TypeError(
            f"{type(codec).__name__} must have codes with {measure.words}, which {type(estimand).__name__} gives, got "
            f"{Measure(of_codes).words}: give it another codec or observation model, or NoDensity()"
        )
