"""The mathematics of each paradigm (estimands, objectives, samplers, likelihoods), and how a model is built by name.

The cards are in :mod:`fourfold.cards`, where :func:`cards` finds them without loading torch, and their recipes are in
:mod:`fourfold.recipes`. Nothing else registers a paradigm. A third party joins by the entry-point group
``fourfold.paradigms``, whose points name a module or a :class:`~fourfold.vocabulary.Card`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import os
import pkgutil
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from fourfold.extensions import extensions, load_recipes
from fourfold.output.printable import one_of
from fourfold.vocabulary import Card, Facts, Recipe, TooManyColumns, parse_size

if TYPE_CHECKING:
    from fourfold.core import GenerativeModel, Space

__all__ = [
    "build",
    "build_recipe",
    "cards",
    "check_names",
    "declared",
    "defaults",
    "facts",
    "first_recipe",
    "models",
    "recipes",
    "resolve",
]


@functools.cache
def cards() -> Mapping[str, Card]:
    """Every card by name: those of :mod:`fourfold.cards`, then those of installed third parties. This loads no torch.

    A module of a third party may add recipes to the card of another one: ``RECIPES_OF = {"diffusion": {"name": ...}}``.

    Raises:
        ValueError: if two cards have one name.
        ImportError: if the module of a third party fails.
    """
    folder = importlib.import_module("fourfold.cards")
    modules = [importlib.import_module(f"fourfold.cards.{info.name}") for info in pkgutil.iter_modules(folder.__path__)]
    all_cards = [card for module in modules for card in _cards_of(module)]
    loaded = [_loaded(point) for point in entry_points(group="fourfold.paradigms")]
    for several in loaded:
        all_cards += [several] if isinstance(several, Card) else _cards_of(several)
    names = [card.name for card in all_cards]
    if len(set(names)) != len(names):
        raise ValueError(f"paradigms must have different names, got {sorted(names)}: uninstall or rename one")
    by_name = {card.name: card for card in all_cards}
    for module in loaded:
        for name, more in getattr(module, "RECIPES_OF", {}).items():
            by_name[name] = dataclasses.replace(by_name[name], recipes={**by_name[name].recipes, **more})
    return by_name


def _loaded(point: EntryPoint) -> object:
    """Load the object of an entry point.

    Raises:
        ImportError: naming the entry point, for one whose module fails.
    """
    try:
        return point.load()
    except Exception as error:  # anything may go wrong in a module of a third party
        raise ImportError(
            f"{point.value} must be importable, since an entry point names it as a paradigm, got {error!r}; correct "
            "it, or uninstall its package"
        ) from error


def _cards_of(module: object) -> list[Card]:
    """The cards of a module: its ``CARD``, or several as ``CARDS``."""
    card: Card | None = getattr(module, "CARD", None)
    several: tuple[Card, ...] = getattr(module, "CARDS", ())
    return [*([card] if card else []), *several]


def recipes() -> list[str]:
    """Every name that :func:`build` takes: ``card`` for its default recipe, ``card/recipe`` for each other."""
    return [name for card in cards().values() for name in (card.name, *(f"{card.name}/{r}" for r in card.others))]


def build(name: str, space: Space, size: str = "s") -> GenerativeModel:
    """Build an untrained model from a preset.

    Args:
        name: a paradigm (``"diffusion"``) or one of its recipes (``"diffusion/velocity"``). A paradigm alone is its
            default recipe in the space. :func:`resolve` names it.
        space: the space of the examples.
        size: ``"xs"``, ``"s"`` or ``"m"``. ``"s/2"`` has half the width of ``"s"``, and so on to ``"s/8"``.

    Raises:
        ValueError: for an unknown name or size, listing the choices.
        TypeError: for a space the recipe does not model.
    """
    return build_recipe(name, space, size)[1]


def resolve(name: str, space: Space) -> str:
    """The full name of the recipe that :func:`build` takes: ``"energy"`` is ``"energy/denoising"`` for images.

    Raises:
        ValueError, TypeError: like :func:`build`.
    """
    import torch  # names and cards load without it

    with torch.random.fork_rng(devices=[]):
        return build_recipe(name, space, "xs")[0]


def first_recipe(name: str, space: Space) -> str:
    """The full name of the first recipe of a paradigm that models a space, whatever the data would choose.

    Raises:
        TypeError: if none does.
    """
    for recipe in cards()[name].recipes:
        with contextlib.suppress(TypeError):
            return resolve(f"{name}/{recipe}", space)
    raise TypeError(f"data must be of a kind that {name} models, got {space}: name another paradigm")


def declared(name: str) -> Recipe:
    """The declaration of the recipe ``card/recipe``. That of a plain function is empty."""
    card, _, recipe = name.partition("/")
    function = cards()[card].recipes[recipe]
    return function if isinstance(function, Recipe) else Recipe("")


def check_names(name: str, size: str = "s") -> None:
    """Refuse a paradigm, recipe or size that does not exist.

    Raises:
        ValueError: for an unknown name, with the closest known one.
    """
    names = {*cards(), *(f"{card.name}/{recipe}" for card in cards().values() for recipe in card.recipes)}
    if name not in names:
        if os.path.exists(name):
            raise ValueError(f"paradigm must be named first, then the data, got {name}, a file or a folder")
        card = cards().get(name.partition("/")[0])
        choice = [f"{card.name}/{recipe}" for recipe in card.recipes] if card else cards()
        raise ValueError(f"paradigm must be {one_of(name, choice, 99)}")
    parse_size(size)


def build_recipe(name: str, space: Space, size: str = "s") -> tuple[str, GenerativeModel]:
    """The full name of the recipe that :func:`build` takes, and its model.

    Raises:
        ValueError, TypeError: like :func:`build`.
    """
    from fourfold.core import Space, whole_model  # names and cards load without torch

    check_names(name, size)
    load_recipes()
    if not isinstance(space, Space):  # an argument of the user
        raise TypeError(f"data must be a space for {name}, such as Vectors(2), got {type(space).__name__}")
    card_name, _, recipe = name.partition("/")
    card = cards()[card_name]
    refusals: list[TypeError] = []
    for candidate in [recipe] if recipe else card.order(space):
        try:
            full = f"{card_name}/{candidate}"
            return full, _reading(full, whole_model(space, card.recipes[candidate](space.free, size)))
        except TypeError as refusal:
            refusals.append(refusal)
    raise next((refusal for refusal in refusals if isinstance(refusal, TooManyColumns)), refusals[0])


def _reading(name: str, model: GenerativeModel) -> GenerativeModel:
    """The model, unless it would ignore the conditions of its space.

    Raises:
        TypeError: if it would.
    """
    if model.space.given is None or model.reads_conditions:
        return model
    raise TypeError(
        f"conditions must be left out for {name}, which does not read them, got {model.space.given} beside "
        f"{model.space}; or choose another recipe"
    )


def facts(name: str, size: str = "s") -> Mapping[str, Facts]:
    """The facts of a recipe's models of ``images``, ``vectors``, ``text`` and other data, for those that it models.

    The facts are those of models for small images, 16 columns, short texts, a small table, sequences of 16 rows and
    the specimens of installed spaces (:meth:`fourfold.core.Space.specimens`). A model of other data can have other
    settings.
    :attr:`fourfold.core.GenerativeModel.facts` gives the facts of any model.

    Args:
        name: a recipe (``"flow/maf"``), or a paradigm for its default recipes.
        size: size of the presets.

    Raises:
        ValueError: for an unknown name or size.
    """
    card = cards().get(name.partition("/")[0])
    return {data: card.facts(model.facts) for data, _, model in models(name, size) if card is not None}


def defaults(name: str) -> Mapping[str, str]:
    """The full name of a paradigm's default recipe for each kind of data that it models: ``images``, ``tables``, ...

    Raises:
        ValueError: for an unknown paradigm.
    """
    return {data: recipe for data, recipe, _ in models(name, "xs")}


def models(name: str, size: str) -> Iterator[tuple[str, str, GenerativeModel]]:
    """The models of a recipe, or of a paradigm: for each kind of data that it models, the full name and the model."""
    import torch  # names and cards load without it

    from fourfold.spaces import (
        Categorical,
        Categories,
        Identifier,
        Images,
        Numeric,
        Sequences,
        Table,
        Text,
        Vectors,
    )

    classes = Categories.numbered(10)
    row = (Categorical("kind", categories=("a", "b", "c")), Numeric("price", low=0, high=999))
    spaces: dict[str, tuple[Space, ...]] = {
        "images": (Images(1, 16, 16), Images(1, 16, 16, given=classes)),
        "vectors": (Vectors(16), Vectors(16, given=classes)),
        "text": (Text("abc", 64),),
        "tables": (Table(row),),
        "sequences": (Sequences((Identifier("user"), Numeric("when", high=99), *row), "when", (0, 9), 16, "user"),),
    }
    for point in extensions("fourfold.spaces").values():
        spaces |= {data: tuple(several) for data, several in point.load().specimens().items()}
    for data, several in spaces.items():
        for space in several:
            match = None
            with torch.random.fork_rng(devices=[]), contextlib.suppress(TypeError):
                match = build_recipe(name, space, size)
            if match is not None:
                yield data, *match
                break
