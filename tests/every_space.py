"""A small space of each kind, with and without conditions, and every recipe's model of it."""

import functools
import runpy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import torch

from fourfold.core import GenerativeModel, Space
from fourfold.paradigms import build, recipes
from fourfold.spaces import (
    Categorical,
    Categories,
    DateTime,
    Identifier,
    Images,
    Lines,
    Numeric,
    Sequences,
    Table,
    Text,
    Vectors,
)

__all__ = ["APART", "KIND", "OF_WINGS", "PRICE", "ROWS", "SPACES", "covering", "models"]

Pair: TypeAlias = tuple[str, str]
"""A recipe and the name of a space."""

KIND, PRICE = Categorical("kind", categories=("a", "b", "c"), missing=True), Numeric("price", low=0, high=999)
ROWS = Sequences((Identifier("user"), Numeric("when", low=0, high=50), KIND, PRICE), "when", (0, 9), 6, "user")

OF_WINGS: Mapping[str, Space] = {
    name: space
    for path in sorted(Path(__file__).parent.glob("*/spaces_of_*.py"))
    for name, space in runpy.run_path(str(path))["SPACES"].items()
}
"""Those that the tests of a wing add."""
APART = {name: space for name, space in OF_WINGS.items() if not isinstance(space, Images)}
"""But for kinds of images, such as clips: their networks are those of images, or have tests of their own."""
SPACES: Mapping[str, Space] = {
    "vectors": Vectors(3),
    "vectors-by-class": Vectors(2, given=Categories.numbered(3)),
    "vectors-by-vector": Vectors(2, given=Vectors(3)),
    "images": Images(1, 4, 4, n_values=17),
    "images-by-class": Images(3, 5, 10, n_values=256, given=Categories.numbered(4)),
    "images-by-caption": Images(3, 4, 6, n_values=256, given=Lines.of_bytes(12)),
    "text": Text("abcdef", length=24),
    "table": Table((KIND, PRICE)),
    "sequences": ROWS,
    "windows": Sequences((DateTime("day", resolution=86400, high=90), Numeric("price", high=99)), "day", (1, 3), 5),
    **OF_WINGS,
}


@functools.cache
def models() -> Mapping[tuple[str, str], GenerativeModel]:
    """Untrained models by (recipe, space), to look at: a test that changes a model builds its own."""
    untrained = {}
    for name in recipes():
        for space, value in SPACES.items():
            try:
                with torch.random.fork_rng(devices=[]):
                    untrained[name, space] = build(name, value, "xs")
            except TypeError:
                continue
    return untrained


def covering(
    pairs: Sequence[tuple[str, str]], features: Callable[[tuple[str, str]], set[object]]
) -> list[tuple[str, str]]:
    """Few (recipe, space) that have every feature: the next is always that with most of what none before it has."""
    missing, cover = set[object]().union(*map(features, pairs)), []
    while missing:
        cover.append(max(pairs, key=lambda pair: len(features(pair) & missing)))
        missing -= features(cover[-1])
    return cover
