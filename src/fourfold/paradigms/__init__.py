"""One file per paradigm: objectives, default sampler, likelihood, presets and a CARD; found by :func:`cards`.

Nothing else registers a paradigm. A third party joins by the entry-point group ``fourfold.paradigms``, whose points name
a module or a :class:`~fourfold.vocabulary.Card`.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from fourfold.vocabulary import Card

if TYPE_CHECKING:
    from fourfold.core import GenerativeModel, Space

__all__ = ["build", "cards", "recipes"]


@functools.cache
def cards() -> Mapping[str, Card]:
    """Every card by name: of the modules of this package, then of installed third parties.

    Raises:
        ValueError: if two cards have one name.
    """
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    found = [card for module in modules for card in _declared(module)]
    for point in entry_points(group="fourfold.paradigms"):
        loaded = point.load()
        found += [loaded] if isinstance(loaded, Card) else _declared(loaded)
    names = [card.name for card in found]
    if len(set(names)) != len(names):
        raise ValueError(f"two paradigms have one name among {sorted(names)}: uninstall or rename one")
    return {card.name: card for card in found}


def _declared(module: object) -> list[Card]:
    """The cards of a module: its ``CARD``, or several as ``CARDS``."""
    one: Card | None = getattr(module, "CARD", None)
    several: tuple[Card, ...] = getattr(module, "CARDS", ())
    return [*([one] if one else []), *several]


def recipes() -> list[str]:
    """Every name that :func:`build` takes: ``card`` for its first recipe, ``card/recipe`` for each other."""
    return [
        name if i == 0 else f"{name}/{recipe}"
        for name, card in cards().items()
        for i, recipe in enumerate(card.recipes)
    ]


def build(name: str, space: Space, size: str = "s") -> GenerativeModel:
    """Build an untrained model from a preset.

    Args:
        name: a paradigm (``"diffusion"``) or one of its recipes (``"diffusion/velocity"``).
        space: what one example is.
        size: ``"xs"``, ``"s"`` or ``"m"``.

    Raises:
        ValueError: for an unknown name or size, listing what there is.
        TypeError: for a space the recipe does not model.
    """
    from fourfold.spaces import Images

    card_name, _, recipe = name.partition("/")
    card = cards().get(card_name)
    if card is None or (recipe and recipe not in card.recipes):
        raise ValueError(f"unknown paradigm {name!r}: choose one of {', '.join(recipes())}")
    if size not in ("xs", "s", "m"):
        raise ValueError(f"unknown size {size!r}: choose xs, s or m")
    recipe = recipe or next(iter(card.recipes))
    if isinstance(space, Images) and space.caption is not None and recipe not in card.captioned:
        able = [n for n in recipes() if _captioned(n)]
        raise TypeError(
            f"{name} models no images given captions: choose one of {', '.join(able)}, or leave captions out"
        )
    builder = card.recipes[recipe]
    model: GenerativeModel = builder(space, size)
    return model


def _captioned(name: str) -> bool:
    """Whether a recipe models images given a caption."""
    card_name, _, recipe = name.partition("/")
    card = cards()[card_name]
    return (recipe or next(iter(card.recipes))) in card.captioned
