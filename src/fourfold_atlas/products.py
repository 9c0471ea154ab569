"""Products whose mechanism their makers have not published: an answer of its own."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from fourfold_atlas.catalogue import plain

__all__ = ["Product", "products"]


@dataclass(frozen=True)
class Product:
    """A product: its names, and what its makers say of it, in our own words."""

    name: str
    aliases: tuple[str, ...]
    year: int
    organisation: str
    modality: str
    known: str
    source: str


@lru_cache(maxsize=1)
def products() -> Mapping[str, Product]:
    """Every product by its plain names."""
    text = resources.files("fourfold_atlas").joinpath("products.toml").read_text(encoding="utf-8")
    rows = [Product(**{**row, "aliases": tuple(row["aliases"])}) for row in tomllib.loads(text)["product"]]
    return {plain(name): row for row in rows for name in (row.name, *row.aliases)}
